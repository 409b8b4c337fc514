/* client/cli/table.c - tables for people; see table.h. */
#include "client/cli/table.h"

#include <stdio.h>
#include <string.h>

struct table_row {
    table_row *next;
    const char *cells[TABLE_COLUMNS_MAX];
};

/* Characters, not bytes. */
static size_t table_width(const char *text)
{
    size_t n = 0;

    for (; *text != '\0'; text++)
        n += ((unsigned char)*text & 0xC0) != 0x80;
    return n;
}

static bool table_is_right(const char *title)
{
    size_t len = strlen(title);

    return len > 0 && title[len - 1] == '>';
}

void table_begin(table *table, cli *cli, const char *const *titles, size_t n)
{
    memset(table, 0, sizeof(*table));
    table->cli = cli;
    table->n_columns = n;
    for (size_t i = 0; i < n; i++) {
        table->titles[i] = titles[i];
        table->widths[i] = table_width(titles[i]) - (table_is_right(titles[i]) ? 1 : 0);
    }
}

void table_add(table *table, const char *const *cells)
{
    table_row *row = WM_NEW(&table->cli->arena, table_row);

    if (row == NULL)
        return;
    for (size_t i = 0; i < table->n_columns; i++) {
        size_t width;

        row->cells[i] = wm_arena_strdup(&table->cli->arena, cells[i] != NULL ? cells[i] : "");
        width = table_width(row->cells[i]);
        if (width > table->widths[i])
            table->widths[i] = width;
    }
    if (table->last == NULL)
        table->first = row;
    else
        table->last->next = row;
    table->last = row;
    table->n_rows++;
}

void table_add_message(table *table, const char *const *cells, const ProtobufCMessage *message)
{
    if (table->cli->json)
        cli_print_message(table->cli, message);
    else
        table_add(table, cells);
}

static void table_print_row(const table *table, const char *const *cells, bool titles)
{
    for (size_t i = 0; i < table->n_columns; i++) {
        bool right = table_is_right(table->titles[i]), last = i + 1 == table->n_columns;
        size_t len = strlen(cells[i]) - (titles && right ? 1 : 0);
        size_t width = table_width(cells[i]) - (titles && right ? 1 : 0);
        int pad = (int)(table->widths[i] - width);

        if (right)
            printf("%*s%.*s", pad, "", (int)len, cells[i]);
        else
            printf("%.*s%*s", (int)len, cells[i], last ? 0 : pad, "");
        fputs(last ? "\n" : "  ", stdout);
    }
}

void table_end(table *table, const char *nothing)
{
    if (table->cli->json)
        return;
    if (table->n_rows == 0) {
        fprintf(stderr, "%s\n", nothing);
        return;
    }
    table_print_row(table, table->titles, true);
    for (const table_row *row = table->first; row != NULL; row = row->next)
        table_print_row(table, row->cells, false);
}

void table_pair(const char *name, const char *value)
{
    printf("%-14s %s\n", name, value != NULL ? value : "");
}
