/* server/auth/claims.c - reads the claims of an access token (RFC 7519, RFC 9068); see claims.h.
 *
 * Must not be the only check: the claims are the bearer's word until token.c has verified the
 * signature over them. They are read first all the same, because a token that could never be
 * accepted must not cost a key fetch.
 */
#include "server/auth/claims.h"

#include <math.h>
#include <string.h>

#include "base/json.h"
#include "server/auth/principal.h"

static wm_code refuse(wm_err *err, const char *reason, const char *what)
{
    return wm_fail(err, WM_UNAUTHENTICATED, reason, "%s", what);
}

static const char *text_of(const wm_json *claims, const char *name)
{
    const wm_json *claim = wm_json_find(claims, name);

    return claim && claim->kind == WM_JSON_STRING && claim->text_len > 0 ? claim->text : NULL;
}

static wm_code issuer_check(const wm_json *claims, const auth_issuer *issuers, size_t n,
                            size_t *found, wm_err *err)
{
    const char *iss = text_of(claims, "iss");

    if (!iss)
        return refuse(err, "TOKEN_ISSUER", "the token names no issuer");
    for (size_t i = 0; i < n; i++) {
        if (strcmp(iss, issuers[i].issuer) == 0) {
            *found = i;
            return WM_OK;
        }
    }
    return refuse(err, "TOKEN_ISSUER", "the token's issuer is not a configured one");
}

/* A NumericDate as microseconds. Times beyond the year 9999 count as that. */
static bool date_of(const wm_json *claim, int64_t *time_us)
{
    const double latest_s = 253402300799.0;

    if (!claim || claim->kind != WM_JSON_NUMBER || !isfinite(claim->number) || claim->number < 0)
        return false;
    double seconds = claim->number < latest_s ? claim->number : latest_s;
    *time_us = (int64_t)(seconds * 1e6);
    return true;
}

static wm_code times_check(const wm_json *claims, int64_t now_us, int64_t *expire_us, wm_err *err)
{
    const wm_json *nbf = wm_json_find(claims, "nbf");
    int64_t from_us;

    if (!date_of(wm_json_find(claims, "exp"), expire_us))
        return refuse(err, "TOKEN_EXPIRED", "the token has no expiry time");
    if (*expire_us <= now_us)
        return refuse(err, "TOKEN_EXPIRED", "the token has expired");
    if (!nbf)
        return WM_OK;
    if (!date_of(nbf, &from_us) || from_us > now_us + CLAIMS_NOT_BEFORE_SKEW_MS * INT64_C(1000))
        return refuse(err, "TOKEN_NOT_YET_VALID", "the token is not valid yet");
    return WM_OK;
}

static bool audience_has(const wm_json *aud, const char *audience)
{
    if (!aud)
        return false;
    if (aud->kind == WM_JSON_STRING)
        return strcmp(aud->text, audience) == 0;
    if (aud->kind != WM_JSON_ARRAY)
        return false;
    for (const wm_json *item = aud->first; item; item = item->next)
        if (item->kind == WM_JSON_STRING && strcmp(item->text, audience) == 0)
            return true;
    return false;
}

/* Groups that are no texts, too long or too many are left out: they could only add rights. */
static void groups_read(wm_arena *arena, const wm_json *claims, auth_principal *principal)
{
    const wm_json *list = wm_json_find(claims, "groups");
    const char **groups;

    if (!list || list->kind != WM_JSON_ARRAY)
        return;
    groups = wm_arena_array(arena, PRINCIPAL_GROUPS_MAX, sizeof(*groups));
    principal->groups = groups;
    for (const wm_json *item = list->first; item; item = item->next)
        if (item->kind == WM_JSON_STRING && item->text_len > 0 &&
            item->text_len <= PRINCIPAL_TEXT_MAX && principal->n_groups < PRINCIPAL_GROUPS_MAX)
            groups[principal->n_groups++] = item->text;
}

/* A text that only people read: cut away rather than refused when it is not one. */
static const char *either_text(const wm_json *claims, const char *first, const char *second,
                               const char *otherwise)
{
    const char *text = text_of(claims, first);

    if (!text)
        text = text_of(claims, second);
    return text && strlen(text) <= PRINCIPAL_TEXT_MAX ? text : otherwise;
}

wm_code claims_read(wm_arena *arena, const auth_issuer *issuers, size_t n_issuers,
                    const void *payload, size_t payload_size, int64_t now_us,
                    auth_principal *claims, size_t *issuer, wm_err *err)
{
    wm_json *json;
    wm_code code;

    *claims = (auth_principal){0};
    if (wm_json_parse(arena, payload, payload_size, &json, NULL) != WM_OK ||
        json->kind != WM_JSON_OBJECT)
        return refuse(err, "TOKEN_MALFORMED", "the token's claims are not a JSON object");
    code = issuer_check(json, issuers, n_issuers, issuer, err);
    if (code != WM_OK)
        return code;
    code = times_check(json, now_us, &claims->expire_time_us, err);
    if (code != WM_OK)
        return code;
    if (!audience_has(wm_json_find(json, "aud"), issuers[*issuer].audience))
        return refuse(err, "TOKEN_AUDIENCE", "the token is not for this server");

    claims->issuer = issuers[*issuer].issuer;
    claims->subject = text_of(json, "sub");
    if (!claims->subject || strlen(claims->subject) > CLAIMS_SUBJECT_MAX)
        return refuse(err, "TOKEN_SUBJECT", "the token names no subject of at most 255 bytes");
    claims->name = either_text(json, "name", "preferred_username", claims->subject);
    claims->client_id = either_text(json, "azp", "client_id", "");
    groups_read(arena, json, claims);
    return WM_OK;
}
