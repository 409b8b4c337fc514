// A table whose rows have everything that can be wrong, and the same rows as values of CEL.
#ifndef WAYMARK_TESTS_INTEGRATION_CEL_ROWS_H
#define WAYMARK_TESTS_INTEGRATION_CEL_ROWS_H

#include <libpq-fe.h>

#include <cstdlib>
#include <cstring>
#include <random>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include "server/cel/sql.h"

// One connection.
class Table {
  public:
    explicit Table(const std::string &conninfo) : pg_(PQconnectdb(conninfo.c_str()))
    {
        wm_arena_init(&arena_, 512 << 20);
        if (PQstatus(pg_) != CONNECTION_OK)
            throw std::runtime_error(PQerrorMessage(pg_));
        run("CREATE TABLE thing (id int8 PRIMARY KEY, owner text COLLATE \"POSIX\", kind text COLLATE \"und-x-icu\" NOT NULL, nick text,"
            " total int8, rank int8 NOT NULL, score float8, active bool, seen timestamptz,"
            " tags text[], level int8 NOT NULL, attributes jsonb NOT NULL, extra jsonb,"
            " position geometry(Point, 4326))");
    }
    ~Table()
    {
        PQfinish(pg_);
        wm_arena_free(&arena_);
    }
    Table(const Table &) = delete;
    Table &operator=(const Table &) = delete;

    static std::vector<cel_sql_column> columns()
    {
        return {
            {1, "owner", "t.owner", CEL_SQL_TEXT, CEL_SQL_NULL_MISSING},
            {1, "kind", "t.kind", CEL_SQL_TEXT, CEL_SQL_NOT_NULL},
            {1, "nick", "t.nick", CEL_SQL_TEXT, CEL_SQL_NULL_NULL},
            {1, "total", "t.total", CEL_SQL_INT, CEL_SQL_NULL_MISSING},
            {1, "rank", "t.rank", CEL_SQL_INT, CEL_SQL_NOT_NULL},
            {1, "score", "t.score", CEL_SQL_FLOAT, CEL_SQL_NULL_NULL},
            {1, "active", "t.active", CEL_SQL_BOOL, CEL_SQL_NULL_MISSING},
            {1, "seen", "t.seen", CEL_SQL_TIME, CEL_SQL_NULL_MISSING},
            {1, "tags", "t.tags", CEL_SQL_TEXTS, CEL_SQL_NULL_MISSING},
            {1, "info.level", "t.level", CEL_SQL_INT, CEL_SQL_NOT_NULL},
            {1, "attributes", "t.attributes", CEL_SQL_JSON, CEL_SQL_NOT_NULL},
            {1, "extra", "t.extra", CEL_SQL_JSON, CEL_SQL_NULL_NULL},
            {1, "position", "t.position", CEL_SQL_POINT, CEL_SQL_NULL_MISSING},
        };
    }

    void fill(std::mt19937_64 &random, int n)
    {
        random_ = &random;
        for (int i = 0; i < n; i++)
            run("INSERT INTO thing VALUES (" + std::to_string(i) + ", " + maybe(text()) + ", " +
                text() + ", " + maybe(text()) + ", " + maybe(integer()) + ", " + integer() + ", " +
                maybe(real()) + ", " + maybe(pick({"true", "false"})) + ", " + maybe(time()) +
                ", " + maybe(texts()) + ", " + integer() + ", " + quote(object(2)) + "::jsonb, " +
                maybe(quote(json(2)) + "::jsonb") + ", " + maybe(point()) + ")");
        fill_borders(n);
        load();
    }

    // The ids that a fragment admits.
    std::set<long> select(const cel_sql &sql)
    {
        std::string text = std::string("SELECT id FROM thing t WHERE ") + sql.where;
        PGresult *result = PQexecParams(pg_, text.c_str(), static_cast<int>(sql.n_params), nullptr,
                                        sql.params, nullptr, nullptr, 0);
        std::set<long> ids;

        if (PQresultStatus(result) != PGRES_TUPLES_OK) {
            std::string error = PQerrorMessage(pg_) + text;

            PQclear(result);
            throw std::runtime_error(error);
        }
        for (int i = 0; i < PQntuples(result); i++)
            ids.insert(atol(PQgetvalue(result, i, 0)));
        PQclear(result);
        return ids;
    }

    // By id.
    const std::vector<cel_value> &rows() const
    {
        return rows_;
    }

    void run(const std::string &sql)
    {
        PGresult *result = PQexec(pg_, sql.c_str());
        bool fine = PQresultStatus(result) == PGRES_COMMAND_OK;

        PQclear(result);
        if (!fine)
            throw std::runtime_error(PQerrorMessage(pg_) + sql);
    }

  private:
    // ---- rows of SQL ----

    // Numbers at the very halves above which a double is infinite and below which it is zero.
    void fill_borders(int id)
    {
        for (const char *number :
             {"2::numeric ^ 1024 - 2::numeric ^ 970", "2::numeric ^ 1024 - 2::numeric ^ 970 - 1",
              "-(2::numeric ^ 1024 - 2::numeric ^ 970)", "'1.79769313486231580001e308'",
              "5::numeric ^ 1075 || 'e-1075'", "5::numeric ^ 1075 + 1 || 'e-1075'",
              "-5::numeric ^ 1075 - 1 || 'e-1075'", "'2.47032822920623275e-324'", "'-1e131071'"})
            run("INSERT INTO thing (id, kind, rank, level, attributes) VALUES (" +
                std::to_string(id++) + ", 'a', 0, 0, ('{\"x\":' || " + number + " || '}')::jsonb)");
    }

    size_t below(size_t n)
    {
        return (*random_)() % n;
    }

    std::string pick(const std::vector<std::string> &of)
    {
        return of[below(of.size())];
    }

    std::string maybe(const std::string &sql)
    {
        return below(6) == 0 ? "NULL" : sql;
    }

    static std::string quote(const std::string &text)
    {
        std::string quoted = "'";

        for (char c : text)
            quoted += c == '\'' ? "''" : std::string(1, c);
        return quoted + "'";
    }

    std::string text()
    {
        return pick({"'a'", "'b'", "'ab'", "''", "'A'", "'\xc3\xa9'", "'aa'", "'a%'", "'_'",
                     "E'\\\\'", "'\"'", "'\xf0\x9f\x90\xb1'", "'Z'"});
    }

    std::string integer()
    {
        return pick({"0", "1", "2", "3", "-1", "5", "9007199254740993", "9223372036854775807",
                     "'-9223372036854775808'"});
    }

    std::string real()
    {
        return pick({"0", "1", "2.5", "-1", "3", "'NaN'", "'Infinity'", "'-Infinity'", "'-0'",
                     "9007199254740992", "1e300", "9223372036854775808"});
    }

    std::string time()
    {
        return pick({"'2026-01-01T00:00:00Z'", "'2026-06-01T12:00:00Z'",
                     "'2026-06-01T12:00:00.000001Z'", "'0001-01-01T00:00:00Z'",
                     "'9999-12-31T23:59:59.999999Z'", "'2026-11-24T09:30:00Z'",
                     "'2026-11-28T23:59:00Z'"});
    }

    std::string texts()
    {
        return pick({"'{}'", "'{a}'", "'{a,b}'", "'{NULL}'", "'{b,NULL}'", "'{\"\"}'"});
    }

    std::string point()
    {
        char text[120];

        snprintf(text, sizeof text, "ST_SetSRID(ST_MakePoint(%g, %g), 4326)",
                 static_cast<double>(below(41)) / 4 - 5, static_cast<double>(below(41)) / 4 - 5);
        return text;
    }

    std::string scalar()
    {
        return pick({"\"a\"",
                     "\"b\"",
                     "\"ab\"",
                     "\"\"",
                     "\"\xc3\xa9\"",
                     "0",
                     "1",
                     "2",
                     "2.5",
                     "-1",
                     "-0",
                     "true",
                     "false",
                     "null",
                     "1e400",
                     "-1e400",
                     "1e-400",
                     "1e-320",
                     "9007199254740992",
                     "9007199254740993",
                     "1.0",
                     "\"1\""});
    }

    std::string json(int depth)
    {
        std::string made = "[";

        if (depth == 0 || below(3) > 0)
            return scalar();
        if (below(2))
            return object(depth - 1);
        for (size_t i = below(4); i > 0; i--)
            made += json(depth - 1) + (i > 1 ? "," : "");
        return made + "]";
    }

    std::string object(int depth)
    {
        static const char *const names[] = {"x", "y", "z", "n"};
        std::string made;

        for (const char *name : names)
            if (below(5) > 0)
                made += std::string(made.empty() ? "\"" : ",\"") + name + "\":" +
                        (*name == 'n' && depth > 0 && below(4) ? object(depth - 1) : json(depth));
        return "{" + made + "}";
    }

    // ---- rows of CEL ----

    cel_value keep_text(const char *text)
    {
        return cel_of_string(wm_arena_strdup(&arena_, text), strlen(text));
    }

    cel_value json_value(const char *text)
    {
        wm_json *json;
        wm_err err;

        if (wm_json_parse(&arena_, text, strlen(text), &json, &err) != WM_OK)
            throw std::runtime_error(err.message);
        return cel_json_view(&arena_, json);
    }

    static cel_value time_value(const char *micros)
    {
        int64_t all = atoll(micros), seconds = all / 1000000 - (all % 1000000 < 0);

        return cel_of_timestamp(seconds, static_cast<uint32_t>((all - seconds * 1000000) * 1000));
    }

    cel_value map_of(std::vector<cel_entry> entries)
    {
        return cel_map_value(&arena_,
                             static_cast<cel_entry *>(wm_arena_memdup(
                                 &arena_, entries.data(), entries.size() * sizeof entries[0])),
                             entries.size());
    }

    // "[...]" of JSON, as it comes from array_to_json().
    cel_value value_of(const char *text, char type)
    {
        switch (type) {
        case 's':
            return keep_text(text);
        case 'i':
            return cel_of_int(strtoll(text, nullptr, 10));
        case 'd':
            return cel_of_double(strtod(text, nullptr));
        case 'b':
            return cel_of_bool(*text == 't');
        case 't':
            return time_value(text);
        default:
            return json_value(text);
        }
    }

    void load()
    {
        struct field {
            const char *name;
            char type;
            bool null_is_null;
        };
        static const field fields[] = {
            {"owner", 's', false},      {"kind", 's', false}, {"nick", 's', true},
            {"total", 'i', false},      {"rank", 'i', false}, {"score", 'd', true},
            {"active", 'b', false},     {"seen", 't', false}, {"tags", 'j', false},
            {"attributes", 'j', false}, {"extra", 'j', true}, {"position", 'j', false},
        };
        PGresult *result = PQexec(
            pg_, "SELECT owner, kind, nick, total, rank, score, active,"
                 " (extract(epoch FROM seen) * 1000000)::int8, array_to_json(tags), attributes,"
                 " extra, CASE WHEN position IS NOT NULL THEN json_build_object('lon_deg',"
                 " ST_X(position), 'lat_deg', ST_Y(position)) END, level FROM thing ORDER BY id");

        for (int row = 0; row < PQntuples(result); row++) {
            std::vector<cel_entry> entries;

            for (int i = 0; i < 12; i++) {
                bool null = PQgetisnull(result, row, i);

                if (null && !fields[i].null_is_null)
                    continue;
                entries.push_back(
                    {keep_text(fields[i].name),
                     null ? cel_of_null() : value_of(PQgetvalue(result, row, i), fields[i].type)});
            }
            entries.push_back(
                {keep_text("info"),
                 map_of({{keep_text("level"), value_of(PQgetvalue(result, row, 12), 'i')}})});
            rows_.push_back(map_of(entries));
        }
        PQclear(result);
    }

    PGconn *pg_;
    wm_arena arena_;
    std::mt19937_64 *random_ = nullptr;
    std::vector<cel_value> rows_;
};

#endif
