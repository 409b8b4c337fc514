/* cel_go/grammar.h - random expressions, mostly well typed, the same for the same seed.
 *
 * Pure: it knows the language's functions, but neither evaluates nor compares.
 */
#ifndef WAYMARK_TESTS_CEL_GO_GRAMMAR_H
#define WAYMARK_TESTS_CEL_GO_GRAMMAR_H

#include "base/buf.h"

/* The variables of every expression; both sides declare them with these types. */
typedef struct grammar_variable {
    const char *name;
    const char *type;
    char letter; /* its type in the grammar */
} grammar_variable;

enum { GRAMMAR_VARIABLES = 13 };
extern const grammar_variable grammar_variables[GRAMMAR_VARIABLES];

typedef struct grammar {
    uint64_t state;    /* of the generator; any seed */
    int wrong_percent; /* how often an operand is of another type than asked for */
    int depth;
    int ordered;    /* above 0: inside what must not become a map */
    size_t n_bound; /* variables of the macros that are open */
    char bound[32]; /* their types */
} grammar;

/* An expression, without line ends. */
void grammar_expression(grammar *grammar, wm_buf *out);
/* A constant expression of the variable's type, for binding it. */
void grammar_constant(grammar *grammar, char letter, wm_buf *out);

#endif
