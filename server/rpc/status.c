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
    STATUS_DETAILS_MAX = 3,
    STATUS_VIOLATIONS_MAX = 64,
    /* Clients take 8 KiB of trailers by default, and base64 adds a third. */
    STATUS_DETAIL_SIZE = 4096
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

    google__protobuf__any__init(any);
    any->type_url = (char *)type_url;
    any->value.data = details->bytes[details->n];
    any->value.len = protobuf_c_message_pack(message, any->value.data);
    details->list[details->n++] = any;
}

static void status_add_info(status_details *details, const wm_err *err, const char *domain)
{
    Google__Rpc__ErrorInfo info = GOOGLE__RPC__ERROR_INFO__INIT;

    info.reason = (char *)err->reason;
    info.domain = (char *)domain;
    status_add(details, "type.googleapis.com/google.rpc.ErrorInfo", &info.base);
}

/* As many violations as fit; the client corrects those and asks again. */
static void status_add_violations(status_details *details, const wm_err *errs, size_t n)
{
    typedef Google__Rpc__BadRequest__FieldViolation field_violation;
    field_violation violations[STATUS_VIOLATIONS_MAX], *list[STATUS_VIOLATIONS_MAX];
    Google__Rpc__BadRequest request = GOOGLE__RPC__BAD_REQUEST__INIT;

    request.field_violations = list;
    for (size_t i = 0; i < n && i < STATUS_VIOLATIONS_MAX; i++) {
        google__rpc__bad_request__field_violation__init(&violations[i]);
        violations[i].field = (char *)errs[i].field;
        violations[i].description = (char *)errs[i].message;
        list[request.n_field_violations++] = &violations[i];
        if (google__rpc__bad_request__get_packed_size(&request) > STATUS_DETAIL_SIZE) {
            request.n_field_violations--;
            break;
        }
    }
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

void rpc_status_pack(const wm_err *err, const wm_err *violations, size_t n_violations,
                     const char *domain, uint64_t call_id, grpc_slice *message, grpc_slice *details)
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
    status_add_info(&list, err, domain);
    if (n_violations > 0)
        status_add_violations(&list, violations, n_violations);
    else if (err->field[0] != '\0')
        status_add_violations(&list, err, 1);
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
