/* cel/macro.h - has(), all(), map() and their like. Private to cel/. */
#ifndef WAYMARK_SERVER_CEL_MACRO_H
#define WAYMARK_SERVER_CEL_MACRO_H

#include "server/cel/ast.h"

/* Turns a call that is a macro into one; other calls stay. False after an issue. */
bool cel_macro_expand(const cel_source *source, cel_ast *call);
/* "all", "transformList", ... as `ast` was written. */
const char *cel_macro_name(const cel_ast *ast);

#endif
