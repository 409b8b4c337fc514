/* cel/lexer.h - the words of an expression. Private to cel/. */
#ifndef WAYMARK_SERVER_CEL_LEXER_H
#define WAYMARK_SERVER_CEL_LEXER_H

#include "server/cel/ast.h"

/* A punctuation mark of one character is its own code. */
typedef enum cel_token_kind {
    TOKEN_END = 0,
    TOKEN_IDENT = 256,
    TOKEN_QUOTED, /* `name`, only behind a dot */
    TOKEN_LITERAL,
    TOKEN_IN,
    TOKEN_EQ,
    TOKEN_NE,
    TOKEN_LE,
    TOKEN_GE,
    TOKEN_AND,
    TOKEN_OR,
    TOKEN_BAD /* an issue was added */
} cel_token_kind;

typedef struct cel_token {
    int kind; /* cel_token_kind or a character */
    uint32_t pos, end;
    bool number;      /* a LITERAL that a minus may belong to */
    const char *name; /* IDENT, QUOTED; terminated */
    size_t name_len;
    cel_value value; /* LITERAL */
} cel_token;

typedef struct cel_lexer {
    const cel_source *source;
    uint32_t pos;
} cel_lexer;

cel_token cel_lexer_next(cel_lexer *lexer);
/* The number literal at `token` with a minus in front; false after an issue. */
bool cel_lexer_negate(const cel_lexer *lexer, cel_token *token);

/* UTF-8 of a code point: bytes written, at most 4. */
size_t cel_utf8_put(char *to, uint32_t code);
/* The code point at `text`, which is valid UTF-8, and its size, never more than the `len` bytes
 * that are left. */
uint32_t cel_utf8_get(const char *text, size_t len, size_t *size);
size_t cel_utf8_count(const char *text, size_t len);
/* Like wm_utf8_check(), but NUL is a character as any other. */
bool cel_utf8_valid(const char *text, size_t len);

#endif
