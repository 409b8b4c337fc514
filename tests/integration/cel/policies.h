// Random conditions over the rows of rows.h, as a grant might have them.
#ifndef WAYMARK_TESTS_INTEGRATION_CEL_POLICIES_H
#define WAYMARK_TESTS_INTEGRATION_CEL_POLICIES_H

#include <random>
#include <string>
#include <vector>

class Policies {
  public:
    explicit Policies(std::mt19937_64 &random) : random_(random)
    {
    }

    std::string condition(int depth)
    {
        switch (depth > 0 ? below(9) : 8) {
        case 0:
        case 1:
            return "(" + condition(depth - 1) + " && " + condition(depth - 1) + ")";
        case 2:
        case 3:
            return "(" + condition(depth - 1) + " || " + condition(depth - 1) + ")";
        case 4:
        case 5:
            return "!(" + condition(depth - 1) + ")";
        case 6:
            return "(" + condition(depth - 1) + " ? " + condition(depth - 1) + " : " +
                   condition(depth - 1) + ")";
        default:
            return atom();
        }
    }

  private:
    size_t below(size_t n)
    {
        return random_() % n;
    }

    std::string pick(const std::vector<std::string> &of)
    {
        return of[below(of.size())];
    }

    std::string column()
    {
        return "r." + pick({"owner", "kind", "nick", "total", "rank", "score", "active", "seen",
                            "tags", "position", "attributes", "extra", "info.level", "missing"});
    }

    std::string attribute()
    {
        return "r." + pick({"attributes", "attributes", "extra"}) +
               pick({".x", ".y", ".z", ".n", ".n.x", ".n.y", "['z']", "['n'].z", ".n.n.x"});
    }

    std::string text()
    {
        return pick({"'a'", "'b'", "'ab'", "''", "'\xc3\xa9'", "'%'", "'\\\\'", "'\"'", "'Z'",
                     "'\xf0\x9f\x90\xb1'", "'a\\x00'", "k.name"});
    }

    std::string number()
    {
        return pick({"0",
                     "1",
                     "2",
                     "2.5",
                     "-1",
                     "0u",
                     "1u",
                     "18446744073709551615u",
                     "9223372036854775808u",
                     "1e300",
                     "9007199254740992",
                     "9007199254740993",
                     "9007199254740992.0",
                     "9223372036854775807",
                     "-9223372036854775807",
                     "9223372036854775808.0",
                     "double('inf')",
                     "double('-inf')",
                     "double('nan')",
                     "-0.0",
                     "5e-324",
                     "k.n"});
    }

    std::string moment()
    {
        return pick({"timestamp('2026-06-01T12:00:00Z')",
                     "timestamp('2026-06-01T12:00:00.0000005Z')",
                     "timestamp('2026-06-01T12:00:00.000001Z')",
                     "timestamp('0001-01-01T00:00:00Z')", "k.now"});
    }

    std::string constant()
    {
        switch (below(8)) {
        case 0:
        case 1:
            return text();
        case 2:
        case 3:
            return number();
        case 4:
            return pick({"true", "false", "null"});
        case 5:
            return moment();
        case 6:
            return pick({"[]", "['a']", "{}", "{'x': 1}", "duration('1h')", "b'a'", "int"});
        default:
            return text();
        }
    }

    std::string value()
    {
        switch (below(7)) {
        case 0:
        case 1:
            return column();
        case 2:
        case 3:
            return attribute();
        case 4:
            return "size(" + pick({column(), attribute()}) + ")";
        default:
            return constant();
        }
    }

    std::string list()
    {
        std::string made = "[";

        for (size_t i = below(5); i > 0; i--)
            made += constant() + (i > 1 ? ", " : "");
        return pick({made + "]", made + "]", "['a', 'b']", "[1, 2, 3]", "[1.0, 2, 3u]",
                     "{'a': 1, 'b': 2}", "k.names", map()});
    }

    // With keys that no double is, beside their neighbours that one is.
    std::string map()
    {
        return pick({"{9007199254740993: true}", "{9007199254740993u: true, 'a': true}",
                     "{9007199254740992: true, 1: true}",
                     "{9223372036854775807: true, 18446744073709551615u: true}",
                     "{9223372036854775808u: true, -9007199254740993: true, true: true}"});
    }

    // A comparison of what may well be compared.
    std::string likely(const std::string &op)
    {
        switch (below(4)) {
        case 0:
            return "r." + pick({"owner", "kind", "nick"}) + op + text();
        case 1:
            return "r." + pick({"total", "rank", "score", "info.level"}) + op + number();
        case 2:
            return "r.seen" + op + moment();
        default:
            return attribute() + op + pick({text(), number()});
        }
    }

    std::string place()
    {
        std::string at = "geo.point(" + pick({"0", "2.5", "-1", "4.25"}) + ", " +
                         pick({"0", "2.5", "-1", "4.25"}) + ")";

        switch (below(5)) {
        case 0:
            return "geo.within(r.position, geo.circle(" + at + ", " +
                   pick({"0", "1000", "300000", "110574.2757", "20000000"}) + "))";
        case 1:
            return pick({"geo.distance_m(r.position, " + at + ")",
                         "geo.distance_m(" + at + ", r.position)"}) +
                   pick({" < ", " <= ", " > ", " >= "}) +
                   pick({"0", "300000", "1e9", "-1.0", "55287.15", "r.total", "double('inf')"});
        case 2:
            return "300000.0 " + pick({"<", "<=", ">", ">="}) + " geo.distance_m(r.position, " +
                   at + ")";
        case 3:
            return "r.position." + pick({"lon_deg", "lat_deg", "alt_m"}) +
                   pick({" < ", " == ", " >= "}) + number();
        default:
            return "geo.within(r.position, " +
                   pick(
                       {"k.area",
                        "'{\"type\":\"Polygon\",\"coordinates\":"
                        "[[[-3,-3],[4,-2],[3,3],[-2,4],[-3,-3]]]}'",
                        "{'type': 'MultiPolygon', 'coordinates': [[[[0, 0], [2, 0], [2, 2], [0, 2], "
                        "[0, 0]]], [[[3, 3], [5, 3], [5, 5], [3, 5], [3, 3]]]]}",
                        "'x'", "r.owner"}) +
                   ")";
        }
    }

    std::string atom()
    {
        std::string op = pick({" == ", " != ", " < ", " <= ", " > ", " >= "});

        switch (below(16)) {
        case 13:
        case 14:
            return place();
        case 15:
            return "time.in_weekly(r.seen, '" +
                   pick({"Mo-Fr 08:00-18:00; Sa 09:00-12:00", "Sa 22:00-02:00", "00:00-24:00",
                         "Mo 12:00-13:00,14:00-15:00"}) +
                   "', '" + pick({"UTC", "+02:00", "-11:30", "", "Europe/Paris"}) + "')";
        case 0:
        case 1:
            return value() + op + value();
        case 2:
            return constant() + op + value();
        case 3:
        case 4:
            return likely(op);
        case 5:
            return pick({column(), attribute(), attribute()}) + " in " + list();
        case 6:
            return constant() + " in " + pick({column(), attribute(), "r.tags", "r.tags"});
        case 7:
            return "has(" + pick({column(), attribute() + pick({".x", ".n"})}) + ")";
        case 8:
            return pick({column(), attribute()}) +
                   pick({".startsWith(", ".endsWith(", ".contains("}) +
                   pick({text(), text(), column()}) + ")";
        case 9:
            return pick({"r.active", attribute(), column()});
        case 10:
            return pick({"r.total + 1 > 2", "r.kind.matches('^a')", "r.tags.exists(t, t == 'a')",
                         "r.kind + 'x' == 'ax'", "r.attributes.?x.orValue(1) == 1",
                         "k.names.exists(g, g == r.owner)", "k.names.all(g, g != r.attributes.x)",
                         "1 / k.zero == 1", "string(r.rank) == '1'"});
        case 11:
            return pick({column(), attribute()}) + " in " + pick({"r.tags", attribute()});
        default:
            return pick({column(), attribute()}) + op + pick({column(), attribute()});
        }
    }

    std::mt19937_64 &random_;
};

#endif
