// Random expressions over random values, for comparing two ways to the same result.
#ifndef WAYMARK_TESTS_UNIT_CEL_RANDOM_H
#define WAYMARK_TESTS_UNIT_CEL_RANDOM_H

#include <random>
#include <string>
#include <vector>

#include "server/cel/cel.h"

// Expressions that are mostly well typed over `k` (known) and `r` (unknown), two maps with the
// members b, i, d, s, l and m, of which values() leaves out some and gives others a wrong type.
class CelRandom {
  public:
    explicit CelRandom(uint64_t seed) : random_(seed)
    {
    }

    std::string condition(int depth)
    {
        switch (below(depth > 0 ? 16 : 4)) {
        case 0:
            return below(2) ? "true" : "false";
        case 1:
            return root() + ".b";
        case 2:
            return local("true");
        case 3:
            return "has(" + root() + "." + member() + ")";
        case 4:
        case 5:
            return "(" + condition(depth - 1) + " && " + condition(depth - 1) +
                   (below(3) ? "" : " && " + condition(depth - 1)) + ")";
        case 6:
        case 7:
            return "(" + condition(depth - 1) + " || " + condition(depth - 1) + ")";
        case 8:
            return "!(" + condition(depth - 1) + ")";
        case 9:
            return "(" + condition(depth - 1) + " ? " + condition(depth - 1) + " : " +
                   condition(depth - 1) + ")";
        case 10:
            return macro(depth);
        case 11:
            return text(depth - 1) +
                   pick({".startsWith(", ".endsWith(", ".contains(", ".matches("}) +
                   text(depth - 1) + ")";
        case 12:
            return "(" + any(depth - 1) + " in " + list(depth - 1) + ")";
        default:
            return "(" + comparison(depth - 1) + ")";
        }
    }

    cel_value value(wm_arena *arena, int depth = 2)
    {
        cel_value items[4];
        size_t n = below(4);

        switch (below(depth > 0 ? 8 : 6)) {
        case 0:
            return cel_of_bool(below(2));
        case 1:
            return cel_of_int(static_cast<int64_t>(below(5)) - 1);
        case 2:
            return cel_of_double(below(6) / 2.0);
        case 3:
            return cel_of_null();
        case 4:
        case 5:
            return word(arena);
        case 6:
            for (size_t i = 0; i < n; i++)
                items[i] = value(arena, depth - 1);
            return keep_list(arena, items, n);
        default:
            return members(arena, depth - 1);
        }
    }

    // The map that `k` and `r` are.
    cel_value members(wm_arena *arena, int depth = 2)
    {
        static const char *const names[] = {"b", "i", "d", "s", "l", "m"};
        cel_entry entries[6];
        size_t n = 0;

        for (size_t i = 0; i < 6; i++) {
            if (below(8) == 0)
                continue;
            entries[n].key = cel_of_string(names[i], 1);
            entries[n++].value = below(8) == 0 ? value(arena, depth - 1) : typed(arena, i, depth);
        }
        return cel_map_value(
            arena, static_cast<cel_entry *>(wm_arena_memdup(arena, entries, sizeof entries)), n);
    }

    size_t below(size_t n)
    {
        return random_() % n;
    }

  private:
    std::string pick(std::vector<std::string> of)
    {
        return of[below(of.size())];
    }

    std::string root()
    {
        return below(12) == 0 ? pick({"k.m", "r.m"}) : pick({"k", "r", "r"});
    }

    std::string member()
    {
        return pick({"b", "i", "d", "s", "l", "m"});
    }

    // A variable of a macro around, where there is one.
    std::string local(const std::string &otherwise)
    {
        return locals_.empty() ? otherwise : locals_[below(locals_.size())];
    }

    std::string number(int depth)
    {
        switch (below(depth > 0 ? 9 : 5)) {
        case 0:
            return pick({"0", "1", "2", "-1", "1.5", "2.0", "1u"});
        case 1:
            return root() + ".i";
        case 2:
            return root() + ".d";
        case 3:
            return local("3");
        case 4:
            return root() + "." + member();
        case 5:
            return "(" + number(depth - 1) + pick({" + ", " - ", " * ", " / ", " % "}) +
                   number(depth - 1) + ")";
        case 6:
            return "size(" + pick({list(depth - 1), text(depth - 1)}) + ")";
        case 7:
            return "(" + condition(depth - 1) + " ? " + number(depth - 1) + " : " +
                   number(depth - 1) + ")";
        default:
            return list(depth - 1) + "[" + number(depth - 1) + "]";
        }
    }

    std::string text(int depth)
    {
        switch (below(depth > 0 ? 7 : 4)) {
        case 0:
            return pick({"''", "'a'", "'b'", "'ab'"});
        case 1:
        case 2:
            return root() + ".s";
        case 3:
            return local("'a'");
        case 4:
            return "(" + text(depth - 1) + " + " + text(depth - 1) + ")";
        case 5:
            return root() + ".?" + member() + ".orValue(" + text(depth - 1) + ")";
        default:
            return "string(" + any(depth - 1) + ")";
        }
    }

    std::string list(int depth)
    {
        switch (below(depth > 0 ? 7 : 3)) {
        case 0:
            return pick({"[]", "[1, 2]", "['a', 'b']", "[true, 1.5, null]"});
        case 1:
        case 2:
            return root() + ".l";
        case 3:
            return "[" + any(depth - 1) + ", " + any(depth - 1) + "]";
        case 4:
            return "(" + list(depth - 1) + " + " + list(depth - 1) + ")";
        case 5:
            return over(list(depth - 1), pick({"filter", "map", "sortBy"}), depth);
        default:
            return over(root() + ".m", "transformList", depth);
        }
    }

    std::string any(int depth)
    {
        switch (below(6)) {
        case 0:
            return number(depth);
        case 1:
            return text(depth);
        case 2:
            return list(depth);
        case 3:
            return condition(depth);
        case 4:
            return root() + "." + member();
        default:
            return local("null");
        }
    }

    std::string comparison(int depth)
    {
        static const char *const all[] = {" == ", " != ", " < ", " <= ", " > ", " >= "};
        std::string op = all[below(6)];

        switch (below(4)) {
        case 0:
            return number(depth) + op + number(depth);
        case 1:
            return text(depth) + op + text(depth);
        default:
            return any(depth) + op + any(depth);
        }
    }

    // range.name(x, body)
    std::string over(const std::string &range, const std::string &name, int depth)
    {
        std::string x = "x" + std::to_string(locals_.size()), made = range + "." + name + "(" + x;
        bool two = name.rfind("transform", 0) == 0;

        locals_.push_back(x);
        if (two) {
            locals_.push_back("y" + x);
            made += ", y" + x;
        }
        made += ", " +
                (name == "map" || two ? any(depth - 1)
                 : name == "sortBy"   ? number(depth - 1)
                                      : condition(depth - 1)) +
                ")";
        locals_.pop_back();
        if (two)
            locals_.pop_back();
        return made;
    }

    std::string macro(int depth)
    {
        std::string made;

        switch (below(5)) {
        case 0:
            made = "cel.bind(v" + std::to_string(locals_.size()) + ", " + any(depth - 1) + ", ";
            locals_.push_back("v" + std::to_string(locals_.size()));
            made += condition(depth - 1) + ")";
            locals_.pop_back();
            return made;
        case 1:
            return over(root() + ".?" + member(), "optMap", depth) + ".hasValue()";
        case 2:
            return over(pick({root() + ".m", list(depth - 1)}), "exists_one", depth);
        default:
            return over(pick({root() + ".m", list(depth - 1), list(depth - 1)}),
                        pick({"all", "exists"}), depth);
        }
    }

    cel_value word(wm_arena *)
    {
        static const char *const words[] = {"", "a", "b", "ab", "\xc3\xa9"};
        const char *text = words[below(5)];

        return cel_of_string(text, std::char_traits<char>::length(text));
    }

    static cel_value keep_list(wm_arena *arena, const cel_value *items, size_t n)
    {
        return cel_list_value(
            arena, static_cast<cel_value *>(wm_arena_memdup(arena, items, (n + 1) * sizeof *items)),
            n);
    }

    cel_value typed(wm_arena *arena, size_t member, int depth)
    {
        cel_value items[4];
        size_t n = below(4);

        switch (member) {
        case 0:
            return cel_of_bool(below(2));
        case 1:
            return cel_of_int(static_cast<int64_t>(below(5)) - 1);
        case 2:
            return cel_of_double(below(6) / 2.0);
        case 3:
            return word(arena);
        case 4:
            for (size_t i = 0; i < n; i++)
                items[i] = value(arena, depth - 1);
            return keep_list(arena, items, n);
        default:
            return depth > 0 ? members(arena, depth - 1) : cel_of_null();
        }
    }

    std::mt19937_64 random_;
    std::vector<std::string> locals_;
};

#endif
