/* client/cli/table.h - tables for people.
 *
 * Rows are kept until table_end(), which knows how wide columns must be. A column whose title
 * ends with '>' (which is not printed) is aligned to the right.
 */
#ifndef WAYMARK_CLIENT_CLI_TABLE_H
#define WAYMARK_CLIENT_CLI_TABLE_H

#include "client/cli/cli.h"

enum { TABLE_COLUMNS_MAX = 12 };

typedef struct table_row table_row;

typedef struct table {
    cli *cli;
    size_t n_columns, n_rows;
    const char *titles[TABLE_COLUMNS_MAX];
    size_t widths[TABLE_COLUMNS_MAX];
    table_row *first, *last;
} table;

void table_begin(table *table, cli *cli, const char *const *titles, size_t n);
/* As many texts as there are columns; NULL is empty. They are copied. */
void table_add(table *table, const char *const *cells);
/* A row that stands for a message. With --json the message is printed at once, as a line. */
void table_add_message(table *table, const char *const *cells, const ProtobufCMessage *message);
/* Prints, or says that there is nothing. Silent with --json, which has no table. */
void table_end(table *table, const char *nothing);

/* "name: value" lines. */
void table_pair(const char *name, const char *value);

#endif
