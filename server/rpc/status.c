/* server/rpc/status.c - a wm_err as what goes over the wire.
 *
 * The text goes into grpc-message; the same with machine-readable details goes as a
 * serialized google.rpc.Status into grpc-status-details-bin (raw bytes: the core does
 * the base64). Details are ErrorInfo always, BadRequest for a named field, RetryInfo
 * when a time to wait is known.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "google/rpc/error_details.pb-c.h"
#include "google/rpc/status.pb-c.h"
#include "server/rpc/internal.h"

enum {
    STATUS_TEXT_SIZE = WM_ERR_MESSAGE_SIZE + 40,
    STATUS_DETAIL_SIZE = 1024,
    STATUS_DETAILS_MAX = 3
};

typedef struct status_details {
    Google__Protobuf__Any any[STATUS_DETAILS_MAX];
    Google__Protobuf__Any *list[STATUS_DETAILS_MAX];
    uint8_t bytes[STATUS_DETAILS_MAX][STATUS_DETAIL_SIZE];
    size_t n;
} status_details;

static void status_add(status_details *details, const char *type_url,
                       const ProtobufCMessage *message)
{
    Google__Protobuf__Any *any = &details->any[details->n];

    /* Every text of a wm_err has a bound, and so has a detail. */
    if (protobuf_c_message_get_packed_size(message) > STATUS_DETAIL_SIZE)
        return;
    google__protobuf__any__init(any);
    any->type_url = (char *)type_url;
    any->value.data = details->bytes[details->n];
    any->value.len = protobuf_c_message_pack(message, any->value.data);
    details->list[details->n++] = any;
}

static void status_add_info(status_details *details, const wm_err *err)
{
    Google__Rpc__ErrorInfo info = GOOGLE__RPC__ERROR_INFO__INIT;

    info.reason = (char *)err->reason;
    info.domain = "waymark";
    status_add(details, "type.googleapis.com/google.rpc.ErrorInfo", &info.base);
}

static void status_add_field(status_details *details, const wm_err *err)
{
    Google__Rpc__BadRequest__FieldViolation violation =
        GOOGLE__RPC__BAD_REQUEST__FIELD_VIOLATION__INIT;
    Google__Rpc__BadRequest__FieldViolation *violations[] = {&violation};
    Google__Rpc__BadRequest request = GOOGLE__RPC__BAD_REQUEST__INIT;

    violation.field = (char *)err->field;
    violation.description = (char *)err->message;
    request.field_violations = violations;
    request.n_field_violations = 1;
    status_add(details, "type.googleapis.com/google.rpc.BadRequest", &request.base);
}

static void status_add_retry(status_details *details, const wm_err *err)
{
    Google__Protobuf__Duration delay = GOOGLE__PROTOBUF__DURATION__INIT;
    Google__Rpc__RetryInfo retry = GOOGLE__RPC__RETRY_INFO__INIT;

    delay.seconds = err->retry_after_ms / 1000;
    delay.nanos = (int32_t)(err->retry_after_ms % 1000) * 1000000;
    retry.retry_delay = &delay;
    status_add(details, "type.googleapis.com/google.rpc.RetryInfo", &retry.base);
}

void rpc_status_pack(const wm_err *err, uint64_t call_id, grpc_slice *message, grpc_slice *details)
{
    Google__Rpc__Status status = GOOGLE__RPC__STATUS__INIT;
    status_details list;
    char text[STATUS_TEXT_SIZE];

    /* The reader of an internal error can do nothing but report it: the id finds the log line. */
    if (err->code == WM_INTERNAL)
        snprintf(text, sizeof(text), "%s (call %016" PRIx64 ")", err->message, call_id);
    else
        snprintf(text, sizeof(text), "%s", err->message);

    list.n = 0;
    status_add_info(&list, err);
    if (err->field[0] != '\0')
        status_add_field(&list, err);
    if (err->retry_after_ms > 0)
        status_add_retry(&list, err);
    status.code = (int32_t)err->code;
    status.message = text;
    status.details = list.list;
    status.n_details = list.n;

    *message = grpc_slice_from_copied_string(text);
    *details = grpc_slice_malloc(google__rpc__status__get_packed_size(&status));
    google__rpc__status__pack(&status, GRPC_SLICE_START_PTR(*details));
}
