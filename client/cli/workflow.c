/* client/cli/workflow.c - charts and their instances: chart put|get|list|check, start, send, get,
 * history.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <waymark/workflow/v1/chart_service.client.h>
#include <waymark/workflow/v1/workflow_service.client.h>

#include "client/cli/args.h"
#include "client/cli/cli.h"
#include "client/cli/table.h"

/* ---- charts ---- */

/* A chart from a JSON file; `id` replaces the one in it when it is not NULL. */
static Waymark__Workflow__V1__Chart *chart_read(cli *cli, const char *path, const char *id)
{
    Waymark__Workflow__V1__Chart *chart;
    size_t len;
    char *text = cli_read_file(cli, path, &len);

    if (text == NULL)
        return NULL;
    chart = (Waymark__Workflow__V1__Chart *)(void *)cli_read_message(
        cli, path, text, len, &waymark__workflow__v1__chart__descriptor);
    if (chart != NULL && id != NULL)
        chart->chart_id = (char *)id;
    return chart;
}

static int chart_put_run(cli *cli, int argc, char **argv)
{
    Waymark__Workflow__V1__PutChartRequest request = WAYMARK__WORKFLOW__V1__PUT_CHART_REQUEST__INIT;
    const Waymark__Workflow__V1__PutChartResponse *response;
    const char *path = NULL, *id = NULL;
    const args_option known[] = {{"--id", ARGS_TEXT, &id, "ID", "instead of the chart's own id"}};
    waymark_reply *reply = NULL;
    int code = args_parse(cli, argc, argv, known, WM_ARRAY_LEN(known), &path, 1, 1);

    if (code != ARGS_GO_ON)
        return code;
    request.chart = chart_read(cli, path, id);
    if (request.chart == NULL || cli_client(cli) == NULL)
        return CLI_USAGE;
    request.namespace_ = (char *)cli->namespace_name;
    response =
        waymark_workflow_v1_chart_service_put_chart_sync(cli->client, &request, NULL, &reply);
    if (response == NULL)
        code = cli_refused(cli, waymark_reply_status(reply));
    else if (cli->json)
        cli_print_message(cli, &response->base);
    else
        printf("%s version %" PRId64 "%s\n", response->chart_id, response->version,
               response->created ? "" : " (unchanged)");
    waymark_reply_free(reply);
    return code == ARGS_GO_ON ? CLI_OK : code;
}

static int chart_get_run(cli *cli, int argc, char **argv)
{
    Waymark__Workflow__V1__GetChartRequest request = WAYMARK__WORKFLOW__V1__GET_CHART_REQUEST__INIT;
    const Waymark__Workflow__V1__GetChartResponse *response;
    const char *id = NULL;
    const args_option known[] = {
        {"--version", ARGS_INT, &request.version, "N", "which version (else the newest)"}};
    waymark_reply *reply = NULL;
    int code = args_connect(cli, argc, argv, known, WM_ARRAY_LEN(known), &id, 1, 1);

    if (code != ARGS_GO_ON)
        return code;
    request.namespace_ = (char *)cli->namespace_name;
    request.chart_id = (char *)id;
    response =
        waymark_workflow_v1_chart_service_get_chart_sync(cli->client, &request, NULL, &reply);
    if (response == NULL)
        code = cli_refused(cli, waymark_reply_status(reply));
    else if (cli->json)
        cli_print_message(cli, &response->base);
    else if (response->chart != NULL) /* what `chart put` reads */
        cli_print_pretty(cli, &response->chart->base);
    waymark_reply_free(reply);
    return code == ARGS_GO_ON ? CLI_OK : code;
}

static void chart_add(cli *cli, table *table, const Waymark__Workflow__V1__ChartSummary *chart)
{
    const char *cells[] = {
        chart->chart_id,
        wm_arena_printf(&cli->arena, "%" PRId64, chart->version),
        cli_time(cli, chart->create_time),
    };

    table_add_message(table, cells, &chart->base);
}

static int chart_list_run(cli *cli, int argc, char **argv)
{
    static const char *const titles[] = {"CHART", "VERSION>", "SINCE"};
    Waymark__Workflow__V1__ListChartsRequest request =
        WAYMARK__WORKFLOW__V1__LIST_CHARTS_REQUEST__INIT;
    table table;
    int code = args_connect(cli, argc, argv, NULL, 0, NULL, 0, 0);

    if (code != ARGS_GO_ON)
        return code;
    table_begin(&table, cli, titles, WM_ARRAY_LEN(titles));
    request.namespace_ = (char *)cli->namespace_name;
    do {
        waymark_reply *reply = NULL;
        const Waymark__Workflow__V1__ListChartsResponse *page =
            waymark_workflow_v1_chart_service_list_charts_sync(cli->client, &request, NULL, &reply);

        if (page == NULL)
            return cli_refused_reply(cli, reply);
        for (size_t i = 0; i < page->n_charts; i++)
            chart_add(cli, &table, page->charts[i]);
        request.page_token = cli_page_token(cli, page->next_page_token, reply);
    } while (*request.page_token != '\0');
    table_end(&table, "no charts");
    return CLI_OK;
}

static int chart_check_print(cli *cli, const Waymark__Workflow__V1__ValidateChartResponse *found)
{
    for (size_t i = 0; i < found->n_diagnostics; i++) {
        const Waymark__Workflow__V1__ChartDiagnostic *one = found->diagnostics[i];

        if (cli->json)
            cli_print_message(cli, &one->base);
        else
            printf("%s: %s (%s)\n", one->field, one->message, one->reason);
    }
    if (found->n_diagnostics == 0 && !cli->json)
        puts("the chart is good");
    return found->n_diagnostics == 0 ? CLI_OK : CLI_REFUSED;
}

static int chart_check_run(cli *cli, int argc, char **argv)
{
    Waymark__Workflow__V1__ValidateChartRequest request =
        WAYMARK__WORKFLOW__V1__VALIDATE_CHART_REQUEST__INIT;
    const Waymark__Workflow__V1__ValidateChartResponse *response;
    const char *path = NULL;
    waymark_reply *reply = NULL;
    int code = args_parse(cli, argc, argv, NULL, 0, &path, 1, 1);

    if (code != ARGS_GO_ON)
        return code;
    request.chart = chart_read(cli, path, NULL);
    if (request.chart == NULL || cli_client(cli) == NULL)
        return CLI_USAGE;
    request.namespace_ = (char *)cli->namespace_name;
    response =
        waymark_workflow_v1_chart_service_validate_chart_sync(cli->client, &request, NULL, &reply);
    code = response == NULL ? cli_refused(cli, waymark_reply_status(reply))
                            : chart_check_print(cli, response);
    waymark_reply_free(reply);
    return code;
}

/* ---- instances ---- */

static const char *status_name(int status)
{
    return status == WAYMARK__WORKFLOW__V1__INSTANCE_STATUS__INSTANCE_STATUS_ENDED ? "ended"
                                                                                   : "running";
}

static void instance_print(cli *cli, const Waymark__Workflow__V1__Instance *instance)
{
    if (cli->json) {
        cli_print_message(cli, &instance->base);
        return;
    }
    table_pair("instance", instance->instance_id);
    table_pair("chart", wm_arena_printf(&cli->arena, "%s version %" PRId64, instance->chart_id,
                                        instance->chart_version));
    if (*instance->entity_id != '\0')
        table_pair("entity", instance->entity_id);
    table_pair("status", status_name((int)instance->status));
    table_pair("states", cli_join(cli, instance->configuration, instance->n_configuration, ", "));
    table_pair("revision", wm_arena_printf(&cli->arena, "%" PRId64, instance->revision));
    table_pair("started", cli_time(cli, instance->create_time));
    table_pair("updated", cli_time(cli, instance->update_time));
    if (instance->end_time != NULL)
        table_pair("ended", cli_time(cli, instance->end_time));
    if (instance->data != NULL)
        table_pair("data", cli_message_text(cli, &instance->data->base));
}

static int start_send(cli *cli, const Waymark__Workflow__V1__StartInstanceRequest *request)
{
    const Waymark__Workflow__V1__StartInstanceResponse *response;
    waymark_reply *reply = NULL;
    int code = CLI_OK;

    if (cli_client(cli) == NULL)
        return CLI_USAGE;
    response = waymark_workflow_v1_workflow_service_start_instance_sync(cli->client, request, NULL,
                                                                        &reply);
    if (response == NULL) {
        code = cli_refused(cli, waymark_reply_status(reply));
    } else if (response->instance != NULL) {
        instance_print(cli, response->instance);
        if (!response->created && !cli->json)
            puts("It had been started before; nothing changed.");
    }
    waymark_reply_free(reply);
    return code;
}

static int start_run(cli *cli, int argc, char **argv)
{
    Waymark__Workflow__V1__StartInstanceRequest request =
        WAYMARK__WORKFLOW__V1__START_INSTANCE_REQUEST__INIT;
    const char *chart = NULL, *id = NULL, *entity = NULL, *input = NULL, *request_id = NULL;
    double wait_s = 0;
    const args_option known[] = {
        {"--id", ARGS_TEXT, &id, "ID", "the instance's id (else the server makes one)"},
        {"--entity", ARGS_TEXT, &entity, "ID", "bind it to an entity: it takes its fence events"},
        {"--input", ARGS_TEXT, &input, "JSON", "an object, or @FILE; merged over the chart's data"},
        {"--version", ARGS_INT, &request.chart_version, "N", "of the chart (else the newest)"},
        {"--request-id", ARGS_TEXT, &request_id, "ID",
         "names this request, so that it can be repeated"},
        {"--wait", ARGS_SECONDS, &wait_s, "TIME", "answer when it has ended, or after this time"},
    };
    int code = args_parse(cli, argc, argv, known, WM_ARRAY_LEN(known), &chart, 1, 1);

    if (code != ARGS_GO_ON)
        return code;
    request.namespace_ = (char *)cli->namespace_name;
    request.chart_id = (char *)chart;
    if (id != NULL)
        request.instance_id = (char *)id;
    if (entity != NULL)
        request.entity_id = (char *)entity;
    if (request_id != NULL)
        request.request_id = (char *)request_id;
    if (wait_s > 0)
        request.wait_timeout = cli_duration(cli, wait_s);
    if (input != NULL) {
        request.input = cli_read_struct(cli, "--input", input);
        if (request.input == NULL)
            return CLI_USAGE;
    }
    return start_send(cli, &request);
}

static void send_print(cli *cli, const Waymark__Workflow__V1__SendEventResponse *response)
{
    if (cli->json) {
        cli_print_message(cli, &response->base);
        return;
    }
    table_pair("states", cli_join(cli, response->configuration, response->n_configuration, ", "));
    table_pair("revision", wm_arena_printf(&cli->arena, "%" PRId64, response->revision));
    table_pair("status", status_name((int)response->status));
    if (response->repeated)
        puts("The request is a repeat; nothing changed.");
    else if (!response->handled)
        puts("No transition was taken.");
}

static int send_run(cli *cli, int argc, char **argv)
{
    Waymark__Workflow__V1__SendEventRequest request =
        WAYMARK__WORKFLOW__V1__SEND_EVENT_REQUEST__INIT;
    const Waymark__Workflow__V1__SendEventResponse *response;
    const char *words[2] = {NULL, NULL}, *data = NULL, *request_id = NULL;
    const args_option known[] = {
        {"--data", ARGS_TEXT, &data, "JSON", "the event's data: an object, or @FILE"},
        {"--request-id", ARGS_TEXT, &request_id, "ID",
         "names this request, so that it can be repeated"},
    };
    waymark_reply *reply = NULL;
    int code = args_parse(cli, argc, argv, known, WM_ARRAY_LEN(known), words, 2, 2);

    if (code != ARGS_GO_ON)
        return code;
    request.namespace_ = (char *)cli->namespace_name;
    request.instance_id = (char *)words[0];
    request.event = (char *)words[1];
    if (request_id != NULL)
        request.request_id = (char *)request_id;
    if (data != NULL) {
        request.data = cli_read_struct(cli, "--data", data);
        if (request.data == NULL)
            return CLI_USAGE;
    }
    if (cli_client(cli) == NULL)
        return CLI_USAGE;
    code = CLI_OK;
    response =
        waymark_workflow_v1_workflow_service_send_event_sync(cli->client, &request, NULL, &reply);
    if (response == NULL)
        code = cli_refused(cli, waymark_reply_status(reply));
    else
        send_print(cli, response);
    waymark_reply_free(reply);
    return code;
}

static int get_run(cli *cli, int argc, char **argv)
{
    Waymark__Workflow__V1__GetInstanceRequest request =
        WAYMARK__WORKFLOW__V1__GET_INSTANCE_REQUEST__INIT;
    const Waymark__Workflow__V1__GetInstanceResponse *response;
    const char *id = NULL;
    waymark_reply *reply = NULL;
    int code = args_connect(cli, argc, argv, NULL, 0, &id, 1, 1);

    if (code != ARGS_GO_ON)
        return code;
    request.namespace_ = (char *)cli->namespace_name;
    request.instance_id = (char *)id;
    code = CLI_OK;
    response =
        waymark_workflow_v1_workflow_service_get_instance_sync(cli->client, &request, NULL, &reply);
    if (response == NULL)
        code = cli_refused(cli, waymark_reply_status(reply));
    else if (response->instance != NULL)
        instance_print(cli, response->instance);
    waymark_reply_free(reply);
    return code;
}

/* ---- history ---- */

static const char *history_kind(int kind)
{
    static const char *const names[] = {"", "started", "event", "entity", "timer", "task", "sent"};

    return kind >= 0 && (size_t)kind < WM_ARRAY_LEN(names) ? names[kind] : "?";
}

static void history_add(cli *cli, table *table, const Waymark__Workflow__V1__HistoryEntry *entry)
{
    const char *event = *entry->event != '\0' ? entry->event : "-";
    const char *cells[] = {
        wm_arena_printf(&cli->arena, "%" PRId64, entry->revision),
        cli_time(cli, entry->time),
        history_kind((int)entry->kind),
        entry->handled || *entry->event == '\0'
            ? event
            : wm_arena_printf(&cli->arena, "%s (ignored)", event),
        cli_join(cli, entry->to_configuration, entry->n_to_configuration, ", "),
        cli_join(cli, entry->started_tasks, entry->n_started_tasks, ", "),
        *entry->failure != '\0' ? entry->failure : cli_join(cli, entry->logs, entry->n_logs, "; "),
    };

    table_add_message(table, cells, &entry->base);
}

static int history_run(cli *cli, int argc, char **argv)
{
    static const char *const titles[] = {"REV>",   "TIME",  "KIND", "EVENT",
                                         "STATES", "TASKS", "NOTES"};
    Waymark__Workflow__V1__ListHistoryRequest request =
        WAYMARK__WORKFLOW__V1__LIST_HISTORY_REQUEST__INIT;
    const char *id = NULL;
    table table;
    int code = args_connect(cli, argc, argv, NULL, 0, &id, 1, 1);

    if (code != ARGS_GO_ON)
        return code;
    table_begin(&table, cli, titles, WM_ARRAY_LEN(titles));
    request.namespace_ = (char *)cli->namespace_name;
    request.instance_id = (char *)id;
    request.page_size = 1000;
    do {
        waymark_reply *reply = NULL;
        const Waymark__Workflow__V1__ListHistoryResponse *page =
            waymark_workflow_v1_workflow_service_list_history_sync(cli->client, &request, NULL,
                                                                   &reply);

        if (page == NULL)
            return cli_refused_reply(cli, reply);
        for (size_t i = 0; i < page->n_entries; i++)
            history_add(cli, &table, page->entries[i]);
        request.page_token = cli_page_token(cli, page->next_page_token, reply);
    } while (*request.page_token != '\0');
    table_end(&table, "no history");
    return CLI_OK;
}

const cli_command cli_workflow_commands[] = {
    {"chart put", "FILE.json", "Stores a chart as its next version.",
     "FILE is a waymark.workflow.v1.Chart as JSON; \"-\" is standard input.", chart_put_run},
    {"chart get", "CHART", "Prints a chart as JSON.", NULL, chart_get_run},
    {"chart list", "", "Lists charts.", NULL, chart_list_run},
    {"chart check", "FILE.json", "Says all that is wrong with a chart, without storing it.", NULL,
     chart_check_run},
    {"start", "CHART", "Starts an instance of a chart.", NULL, start_run},
    {"send", "INSTANCE EVENT", "Sends an event to an instance.", NULL, send_run},
    {"get", "INSTANCE", "Shows an instance.", NULL, get_run},
    {"history", "INSTANCE", "Lists what an instance did.", NULL, history_run},
    {0},
};
