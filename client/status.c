/* client/status.c - how a call ended, as the SDK's callers see it. */
#include "include/waymark/status.h"

#include <assert.h>
#include <grpc/slice.h>
#include <string.h>

#include "client/internal.h"
#include "google/rpc/error_details.pb-c.h"
#include "google/rpc/status.pb-c.h"

static const waymark_status status_ok = {
    .message = "", .reason = "", .domain = "", .retry_delay_ms = -1};

const char *waymark_code_name(waymark_code code)
{
    return wm_code_name((wm_code)code);
}

const char *waymark_status_info(const waymark_status *status, const char *key)
{
    for (size_t i = 0; i < status->n_info; i++)
        if (strcmp(status->info[i].key, key) == 0)
            return status->info[i].value;
    return NULL;
}

const char *waymark_status_metadata(const waymark_status *status, const char *key, size_t *size)
{
    for (size_t i = 0; i < status->n_metadata; i++) {
        if (strcmp(status->metadata[i].key, key) != 0)
            continue;
        if (size != NULL)
            *size = status->metadata[i].size;
        return status->metadata[i].value;
    }
    return NULL;
}

static const char *slice_text(wm_arena *arena, grpc_slice slice)
{
    return wm_arena_strndup(arena, (const char *)GRPC_SLICE_START_PTR(slice),
                            GRPC_SLICE_LENGTH(slice));
}

/* Unpacks a detail if it is of this type. NULL: it is not, or its bytes are bad. */
static ProtobufCMessage *unpack_detail(wm_arena *arena, const Google__Protobuf__Any *detail,
                                       const ProtobufCMessageDescriptor *descriptor)
{
    const char *slash = strrchr(detail->type_url, '/');
    ProtobufCMessage *message = NULL;

    if (slash == NULL || strcmp(slash + 1, descriptor->name) != 0)
        return NULL;
    if (wm_codec_unpack(arena, descriptor, detail->value.data, detail->value.len, &message, NULL) !=
        WM_OK)
        return NULL;
    return message;
}

static void read_violations(wm_arena *arena, const Google__Rpc__BadRequest *bad,
                            waymark_status *status)
{
    waymark_violation *violations =
        WM_NEW_ARRAY(arena, waymark_violation, bad->n_field_violations + 1);

    for (size_t i = 0; i < bad->n_field_violations; i++) {
        violations[i].field = bad->field_violations[i]->field;
        violations[i].description = bad->field_violations[i]->description;
    }
    status->violations = violations;
    status->n_violations = bad->n_field_violations;
}

static void read_info(wm_arena *arena, const Google__Rpc__ErrorInfo *from, waymark_status *status)
{
    waymark_info *info = WM_NEW_ARRAY(arena, waymark_info, from->n_metadata + 1);

    for (size_t i = 0; i < from->n_metadata; i++) {
        info[i].key = from->metadata[i]->key;
        info[i].value = from->metadata[i]->value;
    }
    status->info = info;
    status->n_info = from->n_metadata;
}

/* Of what a server may say anything in: 0 to ten years. */
static int64_t delay_ms(const Google__Protobuf__Duration *delay)
{
    if (delay->seconds < 0 || delay->nanos < 0)
        return 0;
    if (delay->seconds >= CLIENT_TIMEOUT_MAX_MS / 1000)
        return CLIENT_TIMEOUT_MAX_MS;
    return delay->seconds * 1000 + delay->nanos / 1000000;
}

static void read_detail(wm_arena *arena, const Google__Protobuf__Any *detail,
                        waymark_status *status)
{
    ProtobufCMessage *message;

    if ((message = unpack_detail(arena, detail, &google__rpc__error_info__descriptor)) != NULL) {
        const Google__Rpc__ErrorInfo *info = (const void *)message;

        status->reason = info->reason;
        status->domain = info->domain;
        read_info(arena, info, status);
    } else if ((message = unpack_detail(arena, detail, &google__rpc__bad_request__descriptor)) !=
               NULL) {
        read_violations(arena, (const void *)message, status);
    } else if ((message = unpack_detail(arena, detail, &google__rpc__retry_info__descriptor)) !=
               NULL) {
        const Google__Rpc__RetryInfo *retry = (const void *)message;

        if (retry->retry_delay != NULL)
            status->retry_delay_ms = delay_ms(retry->retry_delay);
    }
}

static void read_details(wm_arena *arena, grpc_slice bytes, waymark_status *status)
{
    ProtobufCMessage *message;
    const Google__Rpc__Status *details;

    status->details_size = GRPC_SLICE_LENGTH(bytes);
    status->details = wm_arena_memdup(arena, GRPC_SLICE_START_PTR(bytes), status->details_size);
    if (wm_codec_unpack(arena, &google__rpc__status__descriptor, GRPC_SLICE_START_PTR(bytes),
                        GRPC_SLICE_LENGTH(bytes), &message, NULL) != WM_OK)
        return; /* the plain status has to do */
    details = (const void *)message;
    for (size_t i = 0; i < details->n_details; i++)
        read_detail(arena, details->details[i], status);
}

static void add_metadata(wm_arena *arena, const grpc_metadata_array *from,
                         waymark_metadata *metadata, size_t *n)
{
    for (size_t i = 0; i < from->count; i++) {
        metadata[*n].key = slice_text(arena, from->metadata[i].key);
        metadata[*n].value = slice_text(arena, from->metadata[i].value);
        metadata[*n].size = GRPC_SLICE_LENGTH(from->metadata[i].value);
        ++*n;
    }
}

static void read_metadata(wm_arena *arena, const client_trailer *trailer, waymark_status *status)
{
    waymark_metadata *metadata =
        WM_NEW_ARRAY(arena, waymark_metadata, trailer->initial.count + trailer->trailing.count + 1);

    add_metadata(arena, &trailer->initial, metadata, &status->n_metadata);
    add_metadata(arena, &trailer->trailing, metadata, &status->n_metadata);
    status->metadata = metadata;
}

void client_status_read(wm_arena *arena, const client_trailer *trailer, bool want_metadata,
                        waymark_status *status)
{
    *status = status_ok;
    if (want_metadata)
        read_metadata(arena, trailer, status);
    if (trailer->code == GRPC_STATUS_OK)
        return;
    status->code = (waymark_code)trailer->code;
    status->message = slice_text(arena, trailer->message);
    for (size_t i = 0; i < trailer->trailing.count; i++)
        if (grpc_slice_str_cmp(trailer->trailing.metadata[i].key, "grpc-status-details-bin") == 0)
            read_details(arena, trailer->trailing.metadata[i].value, status);
}

void client_status_make(wm_arena *arena, waymark_code code, const char *reason, const char *message,
                        waymark_status *status)
{
    *status = status_ok;
    status->code = code;
    status->reason = wm_arena_strdup(arena, reason);
    status->message = wm_arena_strdup(arena, message);
    status->domain = "waymark.client";
}
