/* cel/lexer.c - see lexer.h. Literals are decoded here, with all their escapes. */
#include "server/cel/lexer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"

size_t cel_utf8_put(char *to, uint32_t code)
{
    if (code < 0x80) {
        to[0] = (char)code;
        return 1;
    }
    if (code < 0x800) {
        to[0] = (char)(0xc0 | code >> 6);
        to[1] = (char)(0x80 | (code & 0x3f));
        return 2;
    }
    if (code < 0x10000) {
        to[0] = (char)(0xe0 | code >> 12);
        to[1] = (char)(0x80 | (code >> 6 & 0x3f));
        to[2] = (char)(0x80 | (code & 0x3f));
        return 3;
    }
    to[0] = (char)(0xf0 | code >> 18);
    to[1] = (char)(0x80 | (code >> 12 & 0x3f));
    to[2] = (char)(0x80 | (code >> 6 & 0x3f));
    to[3] = (char)(0x80 | (code & 0x3f));
    return 4;
}

uint32_t cel_utf8_get(const char *text, size_t len, size_t *size)
{
    const unsigned char *at = (const unsigned char *)text;

    if (len < 2 || at[0] < 0xc0) {
        *size = len > 0;
        return len > 0 ? at[0] : 0;
    }
    if (at[0] < 0xe0 || len < 3) {
        *size = 2;
        return (uint32_t)(at[0] & 0x1f) << 6 | (at[1] & 0x3f);
    }
    if (at[0] < 0xf0 || len < 4) {
        *size = 3;
        return (uint32_t)(at[0] & 0x0f) << 12 | (uint32_t)(at[1] & 0x3f) << 6 | (at[2] & 0x3f);
    }
    *size = 4;
    return (uint32_t)(at[0] & 0x07) << 18 | (uint32_t)(at[1] & 0x3f) << 12 |
           (uint32_t)(at[2] & 0x3f) << 6 | (at[3] & 0x3f);
}

size_t cel_utf8_count(const char *text, size_t len)
{
    size_t n = 0;

    for (size_t i = 0; i < len; i++)
        n += ((unsigned char)text[i] & 0xc0) != 0x80;
    return n;
}

bool cel_utf8_valid(const char *text, size_t len)
{
    while (len > 0) {
        const char *nul = memchr(text, 0, len);
        size_t part = nul ? (size_t)(nul - text) : len;

        if (wm_utf8_check(text, part) != WM_UTF8_OK)
            return false;
        part += nul != NULL;
        text += part;
        len -= part;
    }
    return true;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || is_digit(c) || c == '_';
}

static int hex_digit(char c)
{
    if (is_digit(c))
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static char peek(const cel_lexer *lexer, size_t ahead)
{
    size_t at = lexer->pos + ahead;

    return at < lexer->source->len ? lexer->source->text[at] : 0;
}

static void skip_space(cel_lexer *lexer)
{
    const cel_source *source = lexer->source;

    while (lexer->pos < source->len) {
        char c = source->text[lexer->pos];

        if (c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f') {
            lexer->pos++;
        } else if (c == '/' && peek(lexer, 1) == '/') {
            while (lexer->pos < source->len && source->text[lexer->pos] != '\n')
                lexer->pos++;
        } else {
            return;
        }
    }
}

static cel_token token_bad(cel_token token)
{
    token.kind = TOKEN_BAD;
    return token;
}

/* ---- numbers ---- */

/* The digits at `token`; false when they do not fit. */
static bool read_natural(const char *text, size_t len, uint64_t *natural)
{
    bool hex = len > 2 && text[0] == '0' && text[1] == 'x';
    uint64_t base = hex ? 16 : 10, value = 0;

    for (size_t i = hex ? 2 : 0; i < len; i++)
        if (__builtin_mul_overflow(value, base, &value) ||
            __builtin_add_overflow(value, (uint64_t)hex_digit(text[i]), &value))
            return false;
    *natural = value;
    return true;
}

static size_t scan_digits(const cel_lexer *lexer, size_t at)
{
    while (is_digit(peek(lexer, at)))
        at++;
    return at;
}

/* The length of a fraction and an exponent behind the digits, 0 without either. */
static size_t scan_real(const cel_lexer *lexer, size_t digits)
{
    size_t at = digits;
    bool real = false;

    if (peek(lexer, at) == '.' && is_digit(peek(lexer, at + 1))) {
        at = scan_digits(lexer, at + 1);
        real = true;
    }
    if (peek(lexer, at) == 'e' || peek(lexer, at) == 'E') {
        size_t sign = at + 1;

        if (peek(lexer, sign) == '+' || peek(lexer, sign) == '-')
            sign++;
        if (is_digit(peek(lexer, sign))) {
            at = scan_digits(lexer, sign);
            real = true;
        }
    }
    return real ? at : 0;
}

static cel_token lex_real(cel_lexer *lexer, cel_token token, size_t len)
{
    char *text = wm_arena_strndup(lexer->source->arena, lexer->source->text + lexer->pos, len);

    token.kind = TOKEN_LITERAL;
    token.number = true;
    token.value = cel_of_double(strtod(text, NULL));
    lexer->pos += (uint32_t)len;
    token.end = lexer->pos;
    if (__builtin_isinf(token.value.as.real)) {
        cel_issue_add(lexer->source, token.pos, "the number is too large for a double");
        return token_bad(token);
    }
    return token;
}

static cel_token lex_number(cel_lexer *lexer, cel_token token)
{
    const char *text = lexer->source->text + lexer->pos;
    size_t len = 0, real;
    uint64_t natural;

    if (text[0] == '0' && peek(lexer, 1) == 'x' && hex_digit(peek(lexer, 2)) >= 0) {
        for (len = 2; hex_digit(peek(lexer, len)) >= 0;)
            len++;
    } else {
        len = scan_digits(lexer, 0);
        real = scan_real(lexer, len);
        if (real > 0)
            return lex_real(lexer, token, real);
    }
    token.kind = TOKEN_LITERAL;
    token.number = true;
    lexer->pos += (uint32_t)len;
    token.end = lexer->pos;
    if (peek(lexer, 0) == 'u' || peek(lexer, 0) == 'U') {
        lexer->pos++;
        token.end = lexer->pos;
        if (!read_natural(text, len, &natural)) {
            cel_issue_add(lexer->source, token.pos, "the number does not fit into a uint");
            return token_bad(token);
        }
        token.value = cel_of_uint(natural);
        return token;
    }
    /* -9223372036854775808 is a literal, so 2^63 is let through here and caught by the parser. */
    if (!read_natural(text, len, &natural) || natural > (uint64_t)INT64_MAX + 1) {
        cel_issue_add(lexer->source, token.pos, "the number does not fit into an int");
        return token_bad(token);
    }
    token.value = (cel_value){.kind = CEL_INT, .as = {.natural = natural}};
    return token;
}

bool cel_lexer_negate(const cel_lexer *lexer, cel_token *token)
{
    cel_value *value = &token->value;

    if (value->kind == CEL_INT)
        value->as.natural = 0 - value->as.natural;
    else if (value->kind == CEL_DOUBLE)
        value->as.real = -value->as.real;
    else
        return cel_issue_add(lexer->source, token->pos, "a uint cannot be negative");
    return true;
}

/* ---- texts ---- */

typedef struct text_out {
    char *data;
    size_t len;
    bool bytes;
} text_out;

static void out_code(text_out *out, uint32_t code)
{
    if (out->bytes)
        out->data[out->len++] = (char)code;
    else
        out->len += cel_utf8_put(out->data + out->len, code);
}

static const char *escape_simple(char c)
{
    static const char names[] = "abfnrtv\\?\"'`";
    static const char values[] = "\a\b\f\n\r\t\v\\?\"'`";
    const char *at = c ? strchr(names, c) : NULL;

    return at ? values + (at - names) : NULL;
}

/* The digits of an escape; -1 when they are none or name no character. */
static int64_t escape_number(const char *at, size_t room, size_t digits, int64_t base)
{
    int64_t code = 0;

    if (digits > room)
        return -1;
    for (size_t i = 0; i < digits; i++) {
        int digit = hex_digit(at[i]);

        if (digit < 0 || digit >= base)
            return -1;
        code = code * base + digit;
    }
    if (code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))
        return -1;
    return code;
}

/* Decodes the escape at `at` (behind the backslash); its size, or 0 when it is none. */
static size_t decode_escape(text_out *out, const char *at, size_t room)
{
    const char *simple = room > 0 ? escape_simple(at[0]) : NULL;
    size_t digits;
    int64_t code;

    if (simple) {
        out->data[out->len++] = *simple;
        return 1;
    }
    if (room == 0)
        return 0;
    if (at[0] >= '0' && at[0] <= '3') {
        code = escape_number(at, room, 3, 8);
        if (code >= 0)
            out_code(out, (uint32_t)code);
        return code >= 0 ? 3 : 0;
    }
    if (at[0] == 'x' || at[0] == 'X')
        digits = 2;
    else if ((at[0] == 'u' || at[0] == 'U') && !out->bytes)
        digits = at[0] == 'u' ? 4 : 8;
    else
        return 0;
    code = escape_number(at + 1, room - 1, digits, 16);
    if (code < 0)
        return 0;
    out_code(out, (uint32_t)code);
    return digits + 1;
}

/* The end of the literal that begins at `from`, behind its quotes; 0 when it does not end. */
static size_t find_end(const cel_source *source, size_t from, char quote, size_t quotes, bool raw)
{
    for (size_t i = from; i < source->len; i++) {
        char c = source->text[i];

        if (c == '\\' && !raw) {
            i++;
        } else if (quotes == 1 && (c == '\n' || c == '\r')) {
            return 0;
        } else if (c == quote) {
            if (quotes == 1)
                return i;
            if (i + 2 < source->len && source->text[i + 1] == quote && source->text[i + 2] == quote)
                return i;
        }
    }
    return 0;
}

static bool decode_text(const cel_source *source, text_out *out, size_t from, size_t end, bool raw)
{
    for (size_t i = from; i < end;) {
        char c = source->text[i++];
        size_t size;

        if (c != '\\' || raw) {
            out->data[out->len++] = c;
            continue;
        }
        size = decode_escape(out, source->text + i, end - i);
        if (size == 0)
            return cel_issue_add(source, (uint32_t)i - 1, "unknown escape sequence");
        i += size;
    }
    return true;
}

/* A text whose prefix has `prefix` letters. */
static cel_token lex_text(cel_lexer *lexer, cel_token token, size_t prefix, bool bytes, bool raw)
{
    const cel_source *source = lexer->source;
    size_t from = lexer->pos + prefix, quotes = 1, end;
    char quote = source->text[from];
    text_out out = {.bytes = bytes};

    if (from + 2 < source->len && source->text[from + 1] == quote &&
        source->text[from + 2] == quote)
        quotes = 3;
    from += quotes;
    end = find_end(source, from, quote, quotes, raw);
    if (end == 0) {
        cel_issue_add(source, token.pos, "the text does not end");
        lexer->pos = (uint32_t)source->len;
        return token_bad(token);
    }
    out.data = wm_arena_alloc(source->arena, end - from + 1);
    if (!out.data || !decode_text(source, &out, from, end, raw))
        return token_bad(token);
    out.data[out.len] = 0;
    lexer->pos = (uint32_t)(end + quotes);
    token.end = lexer->pos;
    token.kind = TOKEN_LITERAL;
    token.value = bytes ? cel_of_bytes(out.data, out.len) : cel_of_string(out.data, out.len);
    return token;
}

/* The letters before a quote: r"", b"", br"". 0 when this is no such text. */
static size_t scan_prefix(const cel_lexer *lexer, bool *bytes, bool *raw)
{
    size_t n = 0;

    *bytes = peek(lexer, n) == 'b' || peek(lexer, n) == 'B';
    n += *bytes;
    *raw = peek(lexer, n) == 'r' || peek(lexer, n) == 'R';
    n += *raw;
    return peek(lexer, n) == '"' || peek(lexer, n) == '\'' ? n : 0;
}

/* ---- words and marks ---- */

static cel_token lex_word(cel_lexer *lexer, cel_token token)
{
    const cel_source *source = lexer->source;
    size_t len = 0;

    while (is_word(peek(lexer, len)))
        len++;
    token.name = wm_arena_strndup(source->arena, source->text + lexer->pos, len);
    token.name_len = len;
    token.kind = TOKEN_IDENT;
    lexer->pos += (uint32_t)len;
    token.end = lexer->pos;
    if (strcmp(token.name, "in") == 0) {
        token.kind = TOKEN_IN;
    } else if (strcmp(token.name, "true") == 0 || strcmp(token.name, "false") == 0) {
        token.kind = TOKEN_LITERAL;
        token.value = cel_of_bool(token.name[0] == 't');
    } else if (strcmp(token.name, "null") == 0) {
        token.kind = TOKEN_LITERAL;
        token.value = cel_of_null();
    }
    return token;
}

static cel_token lex_quoted(cel_lexer *lexer, cel_token token)
{
    const cel_source *source = lexer->source;
    size_t len = 0;

    while (is_word(peek(lexer, len + 1)) ||
           (peek(lexer, len + 1) && strchr(".-/ ", peek(lexer, len + 1))))
        len++;
    if (len == 0 || peek(lexer, len + 1) != '`') {
        cel_issue_add(source, token.pos,
                      "a quoted name holds letters, digits and _ . - / or space");
        lexer->pos++;
        return token_bad(token);
    }
    token.kind = TOKEN_QUOTED;
    token.name = wm_arena_strndup(source->arena, source->text + lexer->pos + 1, len);
    token.name_len = len;
    lexer->pos += (uint32_t)len + 2;
    token.end = lexer->pos;
    return token;
}

static cel_token lex_mark(cel_lexer *lexer, cel_token token)
{
    static const struct {
        char text[3];
        int kind;
    } pairs[] = {{"==", TOKEN_EQ}, {"!=", TOKEN_NE},  {"<=", TOKEN_LE},
                 {">=", TOKEN_GE}, {"&&", TOKEN_AND}, {"||", TOKEN_OR}};
    char c = peek(lexer, 0);

    for (size_t i = 0; i < WM_ARRAY_LEN(pairs); i++)
        if (c == pairs[i].text[0] && peek(lexer, 1) == pairs[i].text[1]) {
            lexer->pos += 2;
            token.kind = pairs[i].kind;
            token.end = lexer->pos;
            return token;
        }
    lexer->pos++;
    token.end = lexer->pos;
    if (c && strchr("<>!?:.,()[]{}+-*/%", c)) {
        token.kind = c;
        return token;
    }
    if (c == '=')
        cel_issue_add(lexer->source, token.pos, "'=' compares nothing; use '=='");
    else if (c == '&' || c == '|')
        cel_issue_add(lexer->source, token.pos, "'%c' is no operator; use '%c%c'", c, c, c);
    else
        cel_issue_add(lexer->source, token.pos, "unexpected character");
    return token_bad(token);
}

cel_token cel_lexer_next(cel_lexer *lexer)
{
    cel_token token = {.kind = TOKEN_END};
    bool bytes, raw;
    size_t prefix;
    char c;

    skip_space(lexer);
    token.pos = token.end = lexer->pos;
    if (lexer->pos >= lexer->source->len)
        return token;
    c = peek(lexer, 0);
    prefix = scan_prefix(lexer, &bytes, &raw);
    if (prefix > 0 || c == '"' || c == '\'')
        return lex_text(lexer, token, prefix, bytes, raw);
    if (is_digit(c) || (c == '.' && is_digit(peek(lexer, 1)))) {
        size_t real = c == '.' ? scan_real(lexer, 0) : 0;

        return real > 0 ? lex_real(lexer, token, real) : lex_number(lexer, token);
    }
    if (is_word(c))
        return lex_word(lexer, token);
    return c == '`' ? lex_quoted(lexer, token) : lex_mark(lexer, token);
}
