/* protoc-gen-waymark-c/emit.h - the six generated files of a proto with services.
 *
 * Templates may use $file$ $stem$; with a service $Service$ $full$ $service$ $SERVICE$
 * $n_methods$; with a method also $Method$ $method$ $METHOD$ $member$ $call$ (the two lower
 * names joined) $Request$ $request$ $Response$ $response$. $rpc$ and $type$ begin the names of the
 * server's runtime; $typed$ and $MUST_USE$ are names of it.
 */
#ifndef WAYMARK_PROTOC_GEN_EMIT_H
#define WAYMARK_PROTOC_GEN_EMIT_H

#include <stdio.h>

#include "bazel/protoc-gen-waymark-c/model.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Service and method may be NULL where the text does not name them. */
void emit(FILE *out, const model_file *file, const model_service *service,
          const model_method *method, const char *text);

/* The proto's comment as a C comment; nothing when there is none. `more`, when not NULL, is
 * a paragraph of our own behind it. */
void emit_comment(FILE *out, const char *indent, const char *comment, bool deprecated,
                  const char *more);

/* The first line of a generated file, the include guard and the headers of all types. */
void emit_header_begin(FILE *out, const model_file *file, const char *kind, const char *includes);
void emit_header_end(FILE *out, const model_file *file, const char *kind);
void emit_source_begin(FILE *out, const model_file *file, const char *kind);

void emit_methods_header(FILE *out, const model_file *file);
void emit_methods_source(FILE *out, const model_file *file);
void emit_server_header(FILE *out, const model_file *file);
void emit_server_source(FILE *out, const model_file *file);
void emit_client_header(FILE *out, const model_file *file);
void emit_client_source(FILE *out, const model_file *file);

#ifdef __cplusplus
}
#endif
#endif
