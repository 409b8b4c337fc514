/* protoc-gen-waymark-c/model.h - a proto file's services, with all names worked out.
 *
 * Memory: a model owns its names and points into the request.
 */
#ifndef WAYMARK_PROTOC_GEN_MODEL_H
#define WAYMARK_PROTOC_GEN_MODEL_H

#include <stdbool.h>
#include <stddef.h>

#include "google/protobuf/compiler/plugin.pb-c.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct model_method {
    const char *name;     /* "GetEntity" */
    char *lower;          /* "get_entity" */
    char *member;         /* the same, fit for a struct's member */
    char *upper;          /* "GET_ENTITY" */
    char *request_type;   /* "Waymark__Geo__V1__GetEntityRequest" */
    char *request_prefix; /* "waymark__geo__v1__get_entity_request" */
    char *response_type;
    char *response_prefix;
    bool client_streaming, server_streaming;
    bool deprecated;
    const char *idempotency; /* "WM_IDEMPOTENT" and its like */
    char *permission;        /* as a C literal, or "NULL" */
    const char *comment;     /* the proto's, or "" */
} model_method;

typedef struct model_service {
    const char *name; /* "TrackService" */
    char *full_name;  /* "waymark.geo.v1.TrackService" */
    char *lower;      /* "waymark_geo_v1_track_service" */
    char *upper;
    bool deprecated;
    const char *comment;
    model_method *methods;
    size_t n_methods;
} model_service;

typedef struct model_file {
    const char *name; /* "waymark/geo/v1/track_service.proto" */
    char *stem;       /* without ".proto" */
    char **includes;  /* the message headers that the services' types need, sorted */
    size_t n_includes;
    model_service *services;
    size_t n_services;
    bool is_tree; /* see options.h */
    uint8_t *set; /* a FileDescriptorSet of the file and all that it imports */
    size_t set_size;
} model_file;

/* NULL when there is no file `name` in the request, or a type of it is not defined there. */
model_file *model_new(const Google__Protobuf__Compiler__CodeGeneratorRequest *request,
                      const char *name);
void model_free(model_file *file);

#ifdef __cplusplus
}
#endif
#endif
