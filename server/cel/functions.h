/* cel/functions.h - finding overloads by name. Private to cel/. */
#ifndef WAYMARK_SERVER_CEL_FUNCTIONS_H
#define WAYMARK_SERVER_CEL_FUNCTIONS_H

#include "server/cel/internal.h"

enum { CEL_OVERLOADS_MAX = 24 };

/* The overloads of a name, the host's first; how many. */
size_t cel_functions_find(const cel_env *env, const char *name, bool member,
                          const cel_function *found[CEL_OVERLOADS_MAX]);
/* The number of arguments in a signature. */
size_t cel_signature_len(const char *signature);
/* Whether the arguments are of the kinds that the signature names. */
bool cel_signature_takes(const char *signature, const cel_value *args, size_t n);

#endif
