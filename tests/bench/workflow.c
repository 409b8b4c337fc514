/* tests/bench/workflow.c - instances with one task, and events to instances.
 *
 * workflow_task: StartInstance, which waits for the end; the chart's one state hands out a task; a
 * worker's stream completes it. The start's answer is the end of the operation.
 * send_event: SendEvent to an instance of its own for each operation in flight, which goes to and
 * fro between two states.
 */
#include <stdio.h>
#include <stdlib.h>
#include <waymark/worker.h>

#include "tests/bench/bench.h"
#include "waymark/workflow/v1/chart_service.client.h"
#include "waymark/workflow/v1/workflow_service.client.h"

typedef Waymark__Workflow__V1__Chart chart_message;
typedef Waymark__Workflow__V1__State state_message;
typedef Waymark__Workflow__V1__Transition transition_message;

static void state_init(state_message *state, const char *id, transition_message *transition,
                       const char *event, char **target)
{
    waymark__workflow__v1__state__init(state);
    state->id = (char *)id;
    if (transition == NULL)
        return;
    waymark__workflow__v1__transition__init(transition);
    transition->event = (char *)event;
    transition->targets = target;
    transition->n_targets = 1;
}

static bool put_chart(bench_load *load, const char *id, state_message **states, size_t n)
{
    Waymark__Workflow__V1__PutChartRequest request = WAYMARK__WORKFLOW__V1__PUT_CHART_REQUEST__INIT;
    chart_message chart = WAYMARK__WORKFLOW__V1__CHART__INIT;
    waymark_reply *reply;
    bool put;

    chart.chart_id = (char *)id;
    chart.states = states;
    chart.n_states = n;
    request.namespace_ = load->namespace_name;
    request.chart = &chart;
    put = waymark_workflow_v1_chart_service_put_chart_sync(load->bench->client, &request, NULL,
                                                           &reply) != NULL;
    if (!put)
        bench_load_fail(load, "putting a chart", waymark_reply_status(reply));
    waymark_reply_free(reply);
    return put;
}

/* ---- start, task, end ---- */

/* work: a task on entry; done.task.job leads to the end. */
static bool put_task_chart(bench_load *load)
{
    char *done = (char *)"done";
    transition_message transition, *transitions[] = {&transition};
    state_message work, end, *states[] = {&work, &end};
    Waymark__Workflow__V1__StartTask start_task = WAYMARK__WORKFLOW__V1__START_TASK__INIT;
    Waymark__Workflow__V1__Action action = WAYMARK__WORKFLOW__V1__ACTION__INIT;
    Waymark__Workflow__V1__Action *actions[] = {&action};

    start_task.name = (char *)"job";
    start_task.queue = (char *)"bench";
    action.kind_case = WAYMARK__WORKFLOW__V1__ACTION__KIND_START_TASK;
    action.start_task = &start_task;
    state_init(&work, "work", &transition, "done.task.job", &done);
    work.transitions = transitions;
    work.n_transitions = 1;
    work.on_entry = actions;
    work.n_on_entry = 1;
    state_init(&end, "done", NULL, NULL, NULL);
    end.kind = WAYMARK__WORKFLOW__V1__STATE_KIND__STATE_KIND_FINAL;
    return put_chart(load, "bench-task", states, 2);
}

static void task_handle(void *ctx, waymark_task *task)
{
    (void)ctx;
    waymark_task_complete(task, NULL);
}

static void task_done(void *ctx, const waymark_status *status,
                      const Waymark__Workflow__V1__StartInstanceResponse *response)
{
    bench_slot *slot = ctx;

    if (status->code == WAYMARK_OK &&
        response->instance->status !=
            WAYMARK__WORKFLOW__V1__INSTANCE_STATUS__INSTANCE_STATUS_ENDED) {
        waymark_status late = {
            .code = WAYMARK_DEADLINE_EXCEEDED, .reason = "", .message = "it did not end in time"};

        bench_load_fail(slot->load, "an instance", &late);
    }
    bench_slot_done(slot, status);
}

static void task_start(bench_slot *slot)
{
    Waymark__Workflow__V1__StartInstanceRequest request =
        WAYMARK__WORKFLOW__V1__START_INSTANCE_REQUEST__INIT;
    Google__Protobuf__Duration wait = GOOGLE__PROTOBUF__DURATION__INIT;

    wait.seconds = 25;
    request.namespace_ = slot->load->namespace_name;
    request.chart_id = (char *)"bench-task";
    request.wait_timeout = &wait;
    waymark_workflow_v1_workflow_service_start_instance(slot->load->bench->client, &request, NULL,
                                                        task_done, slot);
}

void bench_workflow_task(bench *bench, const char *name, unsigned in_flight)
{
    bench_target target = {.per_s = in_flight > 1 ? 4000 : 0, .p50_us = in_flight > 1 ? 0 : 2000};
    bench_load *load = bench_load_new(bench, name);
    const char *queue = "bench";
    waymark_worker_options options = {.namespace_id = load->namespace_name,
                                      .queues = &queue,
                                      .n_queues = 1,
                                      .name = "bench",
                                      .concurrency = 2 * in_flight,
                                      .handle = task_handle};
    waymark_worker *worker = NULL;

    if (put_task_chart(load))
        worker = waymark_worker_start(bench->client, &options);
    if (worker != NULL)
        bench_run_slots(load, in_flight, task_start, NULL, &target);
    else
        bench_measure(load, &target);
    waymark_worker_stop(worker, 2000);
    bench_load_free(load);
}

/* ---- events ---- */

static bool put_event_chart(bench_load *load)
{
    char *names[] = {(char *)"to", (char *)"fro"};
    transition_message transitions[2], *of_to[] = {&transitions[0]}, *of_fro[] = {&transitions[1]};
    state_message to, fro, *states[] = {&to, &fro};

    state_init(&to, "to", &transitions[0], "tick", &names[1]);
    to.transitions = of_to;
    to.n_transitions = 1;
    state_init(&fro, "fro", &transitions[1], "tick", &names[0]);
    fro.transitions = of_fro;
    fro.n_transitions = 1;
    return put_chart(load, "bench-event", states, 2);
}

static bool start_instances(bench_load *load, unsigned n)
{
    bool started = true;

    for (unsigned i = 0; i < n && started; i++) {
        Waymark__Workflow__V1__StartInstanceRequest request =
            WAYMARK__WORKFLOW__V1__START_INSTANCE_REQUEST__INIT;
        waymark_reply *reply;
        char id[32];

        snprintf(id, sizeof(id), "instance-%u", i);
        request.namespace_ = load->namespace_name;
        request.chart_id = (char *)"bench-event";
        request.instance_id = id;
        started = waymark_workflow_v1_workflow_service_start_instance_sync(
                      load->bench->client, &request, NULL, &reply) != NULL;
        if (!started)
            bench_load_fail(load, "starting an instance", waymark_reply_status(reply));
        waymark_reply_free(reply);
    }
    return started;
}

static void event_done(void *ctx, const waymark_status *status,
                       const Waymark__Workflow__V1__SendEventResponse *response)
{
    (void)response;
    bench_slot_done(ctx, status);
}

static void event_start(bench_slot *slot)
{
    Waymark__Workflow__V1__SendEventRequest request =
        WAYMARK__WORKFLOW__V1__SEND_EVENT_REQUEST__INIT;
    char id[32];

    snprintf(id, sizeof(id), "instance-%u", slot->index);
    request.namespace_ = slot->load->namespace_name;
    request.instance_id = id;
    request.event = (char *)"tick";
    waymark_workflow_v1_workflow_service_send_event(slot->load->bench->client, &request, NULL,
                                                    event_done, slot);
}

void bench_send_event(bench *bench, const char *name, unsigned in_flight)
{
    bench_target target = {.per_s = in_flight > 1 ? 6000 : 0, .p50_us = in_flight > 1 ? 0 : 1000};
    bench_load *load = bench_load_new(bench, name);

    if (put_event_chart(load) && start_instances(load, in_flight))
        bench_run_slots(load, in_flight, event_start, NULL, &target);
    else
        bench_measure(load, &target);
    bench_load_free(load);
}
