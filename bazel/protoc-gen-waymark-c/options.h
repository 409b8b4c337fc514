/* protoc-gen-waymark-c/options.h - what --waymark-c_opt may say.
 *
 * Separated by commas:
 *   messages, methods, server, client   what comes out; none of them means all
 *   protoc-gen-c=PATH                   the program that makes the messages; else from PATH
 *   tree                                for waymark's own tree: includes and names of server/rpc
 *                                       in place of those of the installed <waymark/server.h>
 */
#ifndef WAYMARK_PROTOC_GEN_OPTIONS_H
#define WAYMARK_PROTOC_GEN_OPTIONS_H

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
    OPTION_MESSAGES = 1u << 0,
    OPTION_METHODS = 1u << 1,
    OPTION_SERVER = 1u << 2,
    OPTION_CLIENT = 1u << 3,
    OPTION_KINDS = 0xf
};

typedef struct options {
    unsigned kinds;
    bool is_tree;
    char *protoc_gen_c;
} options;

/* NULL, or what is wrong; that, and what is in `options`, is the caller's to free. */
char *options_parse(options *options, const char *text);

#ifdef __cplusplus
}
#endif
#endif
