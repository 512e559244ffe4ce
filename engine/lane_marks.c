#include "engine/lane_marks.h"

#include <stdlib.h>

static at_status open_streams(at_lane_marks *m, at_error *err)
{
    at_status status = AT_OK;
    for (int k = 1; k < AT_LANE_COUNT && status == AT_OK; k++)
        if (at_lanes_used(m->lanes, (at_lane)k))
            status = m->device->api->lane_stream(m->device, (at_lane)k, &m->streams[k], err);
    return status;
}

static at_status open_marks(at_lane_marks *m, at_error *err)
{
    at_status status = AT_OK;
    for (int i = 0; i <= m->n; i++)
        m->forks = m->forks || at_lanes_waits(m->lanes, i)->forks;
    for (int i = 0; i <= m->n && status == AT_OK; i++)
        if (i == m->n ? m->forks : at_lanes_awaited(m->lanes, i))
            status = m->device->api->mark_new(m->device, &m->marks[i], err);
    return status;
}

at_status at_lane_marks_open(at_lane_marks *m, at_device *device, const at_lanes *lanes, int n,
                             at_error *err)
{
    *m = (at_lane_marks){ .device = device, .lanes = lanes, .n = n };
    bool many = false;
    for (int k = 0; k < AT_LANE_COUNT; k++) {
        m->streams[k] = device->stream;
        many = many || (k != AT_LANE_COMPUTE && at_lanes_used(lanes, (at_lane)k));
    }
    if (!many)
        return AT_OK;
    m->marks = calloc((size_t)n + 1, sizeof *m->marks);
    if (!m->marks)
        return at_fail(err, AT_NO_MEMORY, "no memory for the lanes of %d nodes", n);
    at_status status = open_streams(m, err);
    if (status == AT_OK)
        status = open_marks(m, err);
    if (status != AT_OK)
        at_lane_marks_close(m);
    return status;
}

void at_lane_marks_close(at_lane_marks *m)
{
    for (int i = 0; m->marks && i <= m->n; i++)
        if (m->marks[i])
            m->device->api->mark_free(m->device, m->marks[i]);
    free(m->marks);
    *m = (at_lane_marks){ 0 };
}

at_status at_lane_marks_begin(at_lane_marks *m, at_error *err)
{
    if (!m->marks || !m->forks)
        return AT_OK;
    return m->device->api->mark_set(m->device, AT_LANE_COMPUTE, m->marks[m->n], err);
}

at_status at_lane_marks_before(at_lane_marks *m, int node, at_lane lane, at_error *err)
{
    at_status status = AT_OK;
    if (!m->marks)
        return AT_OK;
    const at_waits *w = at_lanes_waits(m->lanes, node);
    if (w->forks)
        status = m->device->api->mark_await(m->device, lane, m->marks[m->n], err);
    for (int k = 0; k < AT_LANE_COUNT && status == AT_OK; k++)
        if (w->after[k] >= 0)
            status = m->device->api->mark_await(m->device, lane, m->marks[w->after[k]], err);
    return status;
}

at_status at_lane_marks_after(at_lane_marks *m, int node, at_lane lane, at_error *err)
{
    if (!m->marks || !m->marks[node])
        return AT_OK;
    return m->device->api->mark_set(m->device, lane, m->marks[node], err);
}
