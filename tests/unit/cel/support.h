// What the tests of the expression language share: compile, evaluate, print.
#ifndef WAYMARK_TESTS_UNIT_CEL_SUPPORT_H
#define WAYMARK_TESTS_UNIT_CEL_SUPPORT_H

#include <string>
#include <utility>
#include <vector>

#include "server/cel/cel.h"

// Variables by name, each with its type and its value.
struct CelVariable {
    std::string name, type;
    cel_value value;
};

class Cel {
  public:
    explicit Cel(std::vector<CelVariable> variables = {}, const char *container = nullptr)
    {
        env = cel_env_new(container);
        wm_arena_init(&arena, 0);
        for (const CelVariable &variable : variables) {
            wm_err err;

            if (cel_env_add(env, variable.name.c_str(), variable.type.c_str(), &err) != WM_OK)
                abort();
            values.push_back(variable.value);
        }
    }
    ~Cel()
    {
        cel_program_free(program);
        cel_env_free(env);
        wm_arena_free(&arena);
    }
    Cel(const Cel &) = delete;
    Cel &operator=(const Cel &) = delete;

    bool compile(const std::string &text)
    {
        cel_program_free(program);
        program = nullptr;
        return cel_compile(env, text.data(), text.size(), &options, &program, &issues) == WM_OK;
    }

    cel_value eval()
    {
        cel_vars vars = {values.data(), values.size(), nullptr, nullptr};

        spent = limit;
        return cel_eval(program, &vars, &spent, &arena);
    }

    // The value as text, "error: ..." or the first issue.
    std::string run(const std::string &text)
    {
        if (!compile(text))
            return std::string("issue: ") + issues.issues[0].message;
        cel_value value = eval();
        if (value.kind == CEL_ERROR)
            return std::string("error: ") + value.as.error->message;
        return take([&](wm_buf *buf) { cel_value_print(buf, &value); });
    }

    std::string canonical(const std::string &text)
    {
        if (!compile(text))
            return std::string("issue: ") + issues.issues[0].message;
        return take([&](wm_buf *buf) { cel_program_print(program, buf); });
    }

    template <typename Fill> static std::string take(Fill fill)
    {
        wm_buf buf;

        wm_buf_init(&buf, 1 << 20);
        fill(&buf);
        std::string text(buf.data ? buf.data : "", buf.size);
        wm_buf_free(&buf);
        return text;
    }

    cel_env *env;
    cel_program *program = nullptr;
    cel_options options = {};
    cel_issues issues = {};
    wm_arena arena;
    std::vector<cel_value> values;
    uint64_t limit = 0, spent = 0;
};

#endif
