/* protoc-gen-waymark-c/comment.c - what generated files share: comments, guards, names. */
#include <stdlib.h>
#include <string.h>

#include "bazel/protoc-gen-waymark-c/emit.h"
#include "bazel/protoc-gen-waymark-c/memory.h"
#include "bazel/protoc-gen-waymark-c/names.h"
#include "bazel/protoc-gen-waymark-c/template.h"

/* Must there be a space behind the character at `at`? What would open or end a C comment is broken
 * up, and the trigraph that is a backslash, of which compilers warn. */
static bool needs_space(const char *line, const char *at)
{
    return (at[0] == '*' && at[1] == '/') || (at[0] == '/' && at[1] == '*') ||
           (at > line && at[-1] == '?' && at[0] == '?' && at[1] == '/');
}

/* A line of a comment. */
static void put_line(FILE *out, const char *indent, bool first, const char *line, size_t length)
{
    while (length > 0 && (line[length - 1] == ' ' || line[length - 1] == '\r'))
        length--;
    fprintf(out, "%s%s", indent, first ? "/*" : " *");
    if (length > 0 && line[0] != ' ')
        fputc(' ', out);
    for (size_t i = 0; i < length; i++) {
        fputc(line[i], out);
        if (i + 1 < length && needs_space(line, &line[i]))
            fputc(' ', out);
    }
}

void emit_comment(FILE *out, const char *indent, const char *comment, bool deprecated,
                  const char *more)
{
    const char *parts[3] = {comment, deprecated ? "Deprecated." : NULL, more};
    bool first = true, pending_gap = false;

    for (size_t i = 0; i < 3; i++) {
        for (const char *line = parts[i]; line && *line;) {
            size_t length = strcspn(line, "\n");

            if (!first)
                fputc('\n', out);
            if (pending_gap)
                fprintf(out, "%s *\n", indent);
            put_line(out, indent, first, line, length);
            first = pending_gap = false;
            line += length + (line[length] == '\n');
        }
        pending_gap = !first && i + 1 < 3 && parts[i + 1];
    }
    if (!first)
        fputs(" */\n", out);
}

void emit(FILE *out, const model_file *file, const model_service *service,
          const model_method *method, const char *text)
{
    static const model_service no_service;
    static const model_method no_method;
    char n_methods[24], *call;

    /* The runtime that servers stand on: waymark's own, or the installed one. */
    const char *rpc = file->is_tree ? "rpc_" : "waymark_server_";
    const char *type = file->is_tree ? "rpc_" : "waymark_";

    service = service ? service : &no_service;
    method = method ? method : &no_method;
    snprintf(n_methods, sizeof(n_methods), "%zu", service->n_methods);
    call =
        format("%s_%s", service->lower ? service->lower : "", method->lower ? method->lower : "");

    const template_name names[] = {
        {"file", file->name},
        {"stem", file->stem},
        {"Service", service->name},
        {"full", service->full_name},
        {"service", service->lower},
        {"SERVICE", service->upper},
        {"n_methods", n_methods},
        {"Method", method->name},
        {"method", method->lower},
        {"METHOD", method->upper},
        {"member", method->member},
        {"call", call},
        {"Request", method->request_type},
        {"request", method->request_prefix},
        {"Response", method->response_type},
        {"response", method->response_prefix},
        {"rpc", rpc},
        {"type", type},
        {"typed", file->is_tree ? "rpc_typed" : "waymark__server_typed"},
        {"MUST_USE", file->is_tree ? "WM_MUST_USE" : "WAYMARK_MUST_USE"},
    };

    template_write(out, names, sizeof(names) / sizeof(names[0]), text);
    free(call);
}

static char *guard_of(const model_file *file, const char *kind)
{
    char *stem = names_guard(file->stem), *upper = names_upper(kind), *guard;

    guard = format("%s__%s_H", stem, upper);
    free(stem);
    free(upper);
    return guard;
}

void emit_header_begin(FILE *out, const model_file *file, const char *kind, const char *includes)
{
    char *guard = guard_of(file, kind);

    emit(out, file, NULL, NULL, "/* Made by protoc-gen-waymark-c from $file$; do not edit. */\n");
    fprintf(out, "#ifndef %s\n#define %s\n\n%s\n", guard, guard, includes);
    for (size_t i = 0; i < file->n_includes; i++)
        fprintf(out, "#include \"%s\"\n", file->includes[i]);
    fputs("\n#ifdef __cplusplus\nextern \"C\" {\n#endif\n", out);
    free(guard);
}

void emit_header_end(FILE *out, const model_file *file, const char *kind)
{
    char *guard = guard_of(file, kind);

    fprintf(out, "\n#ifdef __cplusplus\n}\n#endif\n#endif /* %s */\n", guard);
    free(guard);
}

void emit_source_begin(FILE *out, const model_file *file, const char *kind)
{
    emit(out, file, NULL, NULL, "/* Made by protoc-gen-waymark-c from $file$; do not edit. */\n");
    fprintf(out, "#include \"%s.%s.h\"\n", file->stem, kind);
}
