/* lane_marks.h -- the lanes of a plan on a device: a stream for each, and a mark behind every node
 * that another lane waits for.
 *
 * A plan owns one; it is opened before the first run and closed with the plan. A plan whose nodes
 * are all on the compute lane has no marks, and then nothing below does anything. One thread. */
#ifndef AT_ENGINE_LANE_MARKS_H
#define AT_ENGINE_LANE_MARKS_H

#include "engine/lanes.h"

typedef struct at_lane_marks {
    at_device *device;
    const at_lanes *lanes;
    at_stream streams[AT_LANE_COUNT]; /* of the lanes that are used */
    void **marks; /* [nodes + 1], NULL where nobody waits; the last: the begin */
    int n;        /* nodes */
    bool forks;   /* a lane waits for the begin */
} at_lane_marks;

/* 'lanes' of 'n' nodes, with their end, stay as long as the marks. */
at_status at_lane_marks_open(at_lane_marks *m, at_device *device, const at_lanes *lanes, int n,
                             at_error *err);
void at_lane_marks_close(at_lane_marks *m);

/* Around the launches of a run, captured or not: at its begin, before and after each node. Before
 * the end is before the node that there is none of, 'n'. */
at_status at_lane_marks_begin(at_lane_marks *m, at_error *err);
at_status at_lane_marks_before(at_lane_marks *m, int node, at_lane lane, at_error *err);
at_status at_lane_marks_after(at_lane_marks *m, int node, at_lane lane, at_error *err);

#endif
