/* plan_report.h -- what `atelier plan` found, as text or as JSON on stdout. */
#ifndef AT_CLI_PLAN_REPORT_H
#define AT_CLI_PLAN_REPORT_H

#include "cli/goals.h"
#include "cli/planned.h"

typedef struct at_plan_report {
    const char *model;
    at_planned *planned;
    const char *device;       /* NULL: without plans, */
    const char *why_no_plans; /* and why */
    double device_bytes;
    bool only_planned;    /* the device is not here */
    const at_gpu *gpu;    /* NULL: without a budget */
    int top;              /* how many of the largest items */
    const char *measured; /* a file, or NULL */
    int measured_calls;   /* how many of its graphs' calls it knows */
    const at_goal *goals;
    int n_goals;
} at_plan_report;

/* Whether the device has the bytes; true without plans. */
bool at_plan_report_fits(const at_plan_report *r);
void at_plan_report_print(const at_plan_report *r);
at_status at_plan_report_write(const at_plan_report *r, at_error *err);

#endif
