/* waymark/status.h - how a call ended.
 *
 * Threads: a status is plain data; read it from any thread while it lives.
 * Memory:  it belongs to the call, reply or stream that it came with.
 */
#ifndef WAYMARK_STATUS_H
#define WAYMARK_STATUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define WAYMARK_MUST_USE __attribute__((warn_unused_result))
#define WAYMARK_DEPRECATED __attribute__((deprecated))

/* The codes of gRPC. */
typedef enum waymark_code {
    WAYMARK_OK = 0,
    WAYMARK_CANCELLED = 1, /* cancelled from here, or by the server going away */
    WAYMARK_UNKNOWN = 2,
    WAYMARK_INVALID_ARGUMENT = 3,  /* never right without a change; see violations */
    WAYMARK_DEADLINE_EXCEEDED = 4, /* may have taken effect */
    WAYMARK_NOT_FOUND = 5,         /* missing, or hidden from this caller */
    WAYMARK_ALREADY_EXISTS = 6,
    WAYMARK_PERMISSION_DENIED = 7,
    WAYMARK_RESOURCE_EXHAUSTED = 8,  /* try again after retry_delay_ms */
    WAYMARK_FAILED_PRECONDITION = 9, /* wrong state for this */
    WAYMARK_ABORTED = 10,            /* lost a race */
    WAYMARK_OUT_OF_RANGE = 11,
    WAYMARK_UNIMPLEMENTED = 12,
    WAYMARK_INTERNAL = 13,
    WAYMARK_UNAVAILABLE = 14, /* try again */
    WAYMARK_DATA_LOSS = 15,
    WAYMARK_UNAUTHENTICATED = 16 /* no valid token; the reason says which check failed */
} waymark_code;

/* "INVALID_ARGUMENT" */
const char *waymark_code_name(waymark_code code);

/* One field of the request that the server refused (google.rpc.BadRequest). */
typedef struct waymark_violation {
    const char *field; /* "positions[17].lon_deg" */
    const char *description;
} waymark_violation;

/* A piece of metadata; values of keys that end in "-bin" are bytes. */
typedef struct waymark_metadata {
    const char *key; /* lower case */
    const char *value;
    size_t size;
} waymark_metadata;

/* One entry of google.rpc.ErrorInfo.metadata. */
typedef struct waymark_info {
    const char *key;
    const char *value;
} waymark_info;

/* Texts are never NULL. Fields may be added at the end. */
typedef struct waymark_status {
    waymark_code code;
    const char *message; /* for people */
    /* google.rpc.ErrorInfo: "FENCE_NOT_FOUND", "waymark"; "" without one. Reasons are stable
     * and named in proto/waymark/common/v1/error_reason.proto. What the SDK itself finds has
     * the domain "waymark.client". */
    const char *reason;
    const char *domain;
    int64_t retry_delay_ms; /* google.rpc.RetryInfo; -1 without one */
    const waymark_violation *violations;
    size_t n_violations;
    /* The response's metadata, initial and trailing, when the options asked for it. */
    const waymark_metadata *metadata;
    size_t n_metadata;
    /* What ErrorInfo knows besides, in no order; see waymark_status_info(). */
    const waymark_info *info;
    size_t n_info;
    /* The bytes of grpc-status-details-bin, a google.rpc.Status, for details of other types. */
    const uint8_t *details;
    size_t details_size;
} waymark_status;

/* The value of this key in ErrorInfo's metadata, or NULL. */
const char *waymark_status_info(const waymark_status *status, const char *key);
/* The first value of this key (lower case) among the response's metadata, or NULL; its length
 * goes to `size`, which may be NULL. Needs waymark_call_options.want_metadata. */
const char *waymark_status_metadata(const waymark_status *status, const char *key, size_t *size);

#ifdef __cplusplus
}
#endif
#endif
