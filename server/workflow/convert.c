/* server/workflow/convert.c - rows as messages. */
#include <string.h>

#include "server/workflow/internal.h"

Google__Protobuf__Timestamp *workflow_timestamp(wm_arena *arena, int64_t time_us)
{
    Google__Protobuf__Timestamp *timestamp;
    int64_t seconds = time_us / 1000000, rest = time_us % 1000000;

    if (time_us == STORE_NULL_INT)
        return NULL;
    timestamp = WM_NEW(arena, Google__Protobuf__Timestamp);
    google__protobuf__timestamp__init(timestamp);
    if (rest < 0) {
        rest += 1000000;
        seconds--;
    }
    timestamp->seconds = seconds;
    timestamp->nanos = (int32_t)(rest * 1000);
    return timestamp;
}

char **workflow_words(wm_arena *arena, const char *text, size_t *n)
{
    char **words;
    char *copy;

    *n = 0;
    if (!text || !text[0])
        return NULL;
    copy = wm_arena_strdup(arena, text);
    words = WM_NEW_ARRAY(arena, char *, strlen(text) / 2 + 1);
    for (char *save = NULL, *word = strtok_r(copy, " ", &save); word;
         word = strtok_r(NULL, " ", &save))
        words[(*n)++] = word;
    return words;
}

Google__Protobuf__Struct *workflow_struct_of_text(wm_arena *arena, const char *json)
{
    wm_json *tree;
    wm_err err;

    if (!json)
        return workflow_value_to_struct(arena, workflow_value_empty());
    if (wm_json_parse(arena, json, strlen(json), &tree, &err) != WM_OK ||
        tree->kind != WM_JSON_OBJECT)
        return NULL;
    return workflow_value_to_struct(arena, tree);
}

Waymark__Workflow__V1__Instance *workflow_instance_message(wm_arena *arena, const workflow_row *row)
{
    Waymark__Workflow__V1__Instance *out = WM_NEW(arena, Waymark__Workflow__V1__Instance);
    const workflow_move *move = &row->move;

    waymark__workflow__v1__instance__init(out);
    out->instance_id = (char *)move->instance_id;
    out->chart_id = (char *)row->chart_id;
    out->chart_version = row->chart_version;
    out->entity_id = (char *)move->entity_id;
    out->status = row->ended ? WAYMARK__WORKFLOW__V1__INSTANCE_STATUS__INSTANCE_STATUS_ENDED
                             : WAYMARK__WORKFLOW__V1__INSTANCE_STATUS__INSTANCE_STATUS_RUNNING;
    out->configuration = workflow_words(arena, move->configuration, &out->n_configuration);
    /* The tree of a move is at hand; a row that was only read has its text. */
    out->data = move->state.data ? workflow_value_to_struct(arena, move->state.data)
                                 : workflow_struct_of_text(arena, move->data);
    out->revision = move->revision;
    out->create_time = workflow_timestamp(arena, move->create_time_us);
    out->update_time = workflow_timestamp(arena, move->update_time_us);
    out->end_time = workflow_timestamp(arena, move->end_time_us);
    return out->data ? out : NULL;
}

void workflow_row_of_move(workflow_row *row, const workflow_move *move, int64_t now_us)
{
    memset(row, 0, sizeof *row);
    row->move = *move;
    row->chart_id = move->chart->chart_id;
    row->chart_version = move->chart->version;
    row->ended = move->state.ended;
    row->now_us = now_us;
    if (move->revision == 1)
        row->move.create_time_us = now_us;
    row->move.update_time_us = now_us;
    row->move.end_time_us = row->ended ? now_us : STORE_NULL_INT;
}
