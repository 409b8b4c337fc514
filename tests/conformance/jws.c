/* tests/conformance/jws.c - judges published signature vectors by the code that verifies tokens.
 *
 *   jws FILE.jsonl      one case a line: file, tcId, comment, jwk, jws, result, header_alg
 *
 * A valid case with a symmetric algorithm must be refused: waymark takes no shared secrets.
 * Prints each case judged wrong, then "N passed, N failed".
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/json.h"
#include "server/auth/token.h"

enum { JWK_TEXT_MAX = 256 * 1024 };

static void write_json(wm_buf *buf, const wm_json *json)
{
    bool is_object = json->kind == WM_JSON_OBJECT;

    switch (json->kind) {
    case WM_JSON_NULL:
        wm_buf_text(buf, "null");
        return;
    case WM_JSON_BOOL:
        wm_buf_text(buf, json->boolean ? "true" : "false");
        return;
    case WM_JSON_NUMBER:
        wm_buf_text(buf, json->text);
        return;
    case WM_JSON_STRING:
        wm_json_write_string(buf, json->text, json->text_len);
        return;
    case WM_JSON_ARRAY:
    case WM_JSON_OBJECT:
        break;
    }
    wm_buf_char(buf, is_object ? '{' : '[');
    for (const wm_json *item = json->first; item; item = item->next) {
        if (item != json->first)
            wm_buf_char(buf, ',');
        if (is_object) {
            wm_json_write_string(buf, item->name, strlen(item->name));
            wm_buf_char(buf, ':');
        }
        write_json(buf, item);
    }
    wm_buf_char(buf, is_object ? '}' : ']');
}

static bool verifies(wm_arena *arena, const wm_json *jwk, const wm_json *jws, wm_err *err)
{
    token_keys *keys;
    const uint8_t *payload;
    size_t payload_size;
    wm_buf text;

    wm_buf_init(&text, JWK_TEXT_MAX);
    write_json(&text, jwk);
    wm_code code = text.failed ? WM_INVALID : token_keys_new(text.data, text.size, &keys, err);
    wm_buf_free(&text);
    if (code != WM_OK)
        return false;
    code = token_keys_verify(keys, arena, jws->text, jws->text_len, &payload, &payload_size, err);
    token_keys_free(keys);
    return code == WM_OK;
}

static const char *text_of(const wm_json *json, const char *name)
{
    const wm_json *member = wm_json_find(json, name);

    return member && member->text ? member->text : "";
}

/* Prints the case when it is judged wrong. */
static bool judge(wm_arena *arena, const wm_json *line)
{
    const wm_json *jwk = wm_json_find(line, "jwk"), *jws = wm_json_find(line, "jws");
    bool expected = strcmp(text_of(line, "result"), "valid") == 0 &&
                    strncmp(text_of(line, "header_alg"), "HS", 2) != 0;
    wm_err err = {0};

    if (!jwk || !jws || jws->kind != WM_JSON_STRING) {
        printf("FAILED %s %s: not a case\n", text_of(line, "file"), text_of(line, "tcId"));
        return false;
    }
    bool accepted = verifies(arena, jwk, jws, &err);
    if (accepted == expected)
        return true;
    printf("FAILED %s %s %s/%s: %s (%s)\n", text_of(line, "file"), text_of(line, "tcId"),
           text_of(line, "group"), text_of(line, "comment"),
           accepted ? "accepted but invalid" : "refused but valid", err.message);
    return false;
}

int main(int argc, char **argv)
{
    size_t n_passed = 0, n_failed = 0, room = 0;
    char *line = NULL;
    ssize_t len;

    FILE *file = argc == 2 ? fopen(argv[1], "r") : NULL;
    if (!file) {
        fprintf(stderr, "usage: jws FILE.jsonl (a readable file)\n");
        return 2;
    }
    while ((len = getline(&line, &room, file)) > 0) {
        wm_arena arena;
        wm_json *json;
        wm_err err;

        wm_arena_init(&arena, 0);
        bool passed =
            wm_json_parse(&arena, line, (size_t)len, &json, &err) == WM_OK && judge(&arena, json);
        *(passed ? &n_passed : &n_failed) += 1;
        wm_arena_free(&arena);
    }
    free(line);
    fclose(file);
    printf("%zu passed, %zu failed\n", n_passed, n_failed);
    return n_failed == 0 && n_passed > 0 ? 0 : 1;
}
