/* cel/issues.c - diagnostics: where in the text, and how they are shown. */
#include <stdio.h>

#include "server/cel/ast.h"

static void locate(const cel_source *source, cel_issue *issue)
{
    issue->line = issue->column = 1;
    for (size_t i = 0; i < issue->pos && i < source->len; i++) {
        if (source->text[i] == '\n') {
            issue->line++;
            issue->column = 1;
        } else if (((unsigned char)source->text[i] & 0xc0) != 0x80) {
            issue->column++;
        }
    }
}

bool cel_issue_add(const cel_source *source, uint32_t pos, const char *fmt, ...)
{
    cel_issues *issues = source->issues;
    cel_issue *issue = &issues->issues[issues->n];
    va_list args;

    if (issues->n == CEL_ISSUES_MAX) {
        issues->dropped++;
        return false;
    }
    issues->n++;
    issue->pos = pos;
    locate(source, issue);
    va_start(args, fmt);
    vsnprintf(issue->message, sizeof issue->message, fmt, args);
    va_end(args);
    return false;
}

/* At most this much of a line is shown before the place, and behind it. */
enum { SHOWN_MAX = 60 };

static void print_issue(const cel_issue *issue, const char *text, size_t len, wm_buf *buf)
{
    size_t pos = issue->pos < len ? issue->pos : len, from = pos, to = pos;

    while (from > 0 && text[from - 1] != '\n' && pos - from < SHOWN_MAX)
        from--;
    while (from < pos && ((unsigned char)text[from] & 0xc0) == 0x80)
        from++;
    while (to < len && text[to] != '\n' && text[to] != '\r' && to - pos < SHOWN_MAX)
        to++;
    while (to < len && to > pos && ((unsigned char)text[to] & 0xc0) == 0x80)
        to--;
    wm_buf_printf(buf, "%u:%u: %s\n    ", (unsigned)issue->line, (unsigned)issue->column,
                  issue->message);
    for (size_t i = from; i < to; i++)
        wm_buf_char(buf, (unsigned char)text[i] < ' ' ? ' ' : text[i]);
    wm_buf_text(buf, "\n    ");
    for (size_t i = from; i < pos; i++)
        if (((unsigned char)text[i] & 0xc0) != 0x80)
            wm_buf_char(buf, ' ');
    wm_buf_text(buf, "^\n");
}

void cel_issues_print(const cel_issues *issues, const char *text, size_t len, wm_buf *buf)
{
    for (size_t i = 0; i < issues->n; i++)
        print_issue(&issues->issues[i], text, len, buf);
    if (issues->dropped > 0)
        wm_buf_printf(buf, "and %zu more\n", issues->dropped);
}
