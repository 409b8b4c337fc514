/* base/method.h - what is known of an RPC method, as data.
 *
 * protoc-gen-waymark-c writes one table of these per service
 * (X.methods.c); the client and the server runtime both read it.
 */
#ifndef WAYMARK_BASE_METHOD_H
#define WAYMARK_BASE_METHOD_H

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct wm_method {
    const char *path; /* "/waymark.geo.v1.TrackService/GetEntity" */
    const char *name; /* "GetEntity" */
    bool client_streaming;
    bool server_streaming;
    const ProtobufCMessageDescriptor *request;
    const ProtobufCMessageDescriptor *response;
} wm_method;

typedef struct wm_service {
    const char *name;         /* "waymark.geo.v1.TrackService" */
    const wm_method *methods; /* in proto order */
    size_t n_methods;
} wm_service;

#ifdef __cplusplus
}
#endif
#endif
