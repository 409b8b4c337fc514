// tests/unit/workflow/chart_support.h - charts from proto3 JSON, for tests of the pure parts.
#ifndef WAYMARK_TESTS_UNIT_WORKFLOW_CHART_SUPPORT_H
#define WAYMARK_TESTS_UNIT_WORKFLOW_CHART_SUPPORT_H

#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "server/workflow/step.h"

namespace workflow_test {

class Arena {
  public:
    Arena()
    {
        wm_arena_init(&arena_, 0);
    }
    ~Arena()
    {
        wm_arena_free(&arena_);
    }
    Arena(const Arena &) = delete;
    Arena &operator=(const Arena &) = delete;
    operator wm_arena *()
    {
        return &arena_;
    }

  private:
    wm_arena arena_;
};

inline const wm_json *parse(wm_arena *arena, const std::string &text)
{
    wm_json *json = nullptr;
    wm_err err;
    char *copy = wm_arena_strndup(arena, text.data(), text.size());
    EXPECT_EQ(wm_json_parse(arena, copy, text.size(), &json, &err), WM_OK) << err.message;
    return json;
}

inline std::string text_of(wm_arena *arena, const wm_json *value)
{
    const char *text = workflow_value_text(arena, value);
    return text == nullptr ? "(too long)" : text;
}

inline Waymark__Workflow__V1__Chart *definition(wm_arena *arena, const std::string &json)
{
    ProtobufCMessage *message = nullptr;
    wm_err err;
    EXPECT_EQ(wm_json_to_message(arena, parse(arena, json),
                                 &waymark__workflow__v1__chart__descriptor, &message, &err),
              WM_OK)
        << err.field << ": " << err.message;
    return reinterpret_cast<Waymark__Workflow__V1__Chart *>(message);
}

// "field: REASON" for everything that is wrong with a chart.
inline std::vector<std::string> errors_of(const std::string &json)
{
    Arena arena;
    auto found = std::make_unique<chart_diagnostics>();
    std::vector<std::string> errors;
    workflow_chart *chart = nullptr;
    wm_code code = workflow_chart_compile(definition(arena, json), &chart, found.get());
    EXPECT_EQ(code == WM_OK, found->n == 0);
    for (size_t i = 0; i < found->n_kept; i++)
        errors.push_back(std::string(found->errs[i].field) + ": " + found->errs[i].reason);
    workflow_chart_unref(chart);
    return errors;
}

// One instance of a chart, stepped by hand.
class Stepper {
  public:
    explicit Stepper(const std::string &json)
    {
        auto found = std::make_unique<chart_diagnostics>();
        wm_code code = workflow_chart_compile(definition(arena_, json), &chart_, found.get());
        EXPECT_EQ(code, WM_OK) << found->errs[0].field << ": " << found->errs[0].message;
    }
    ~Stepper()
    {
        workflow_chart_unref(chart_);
    }
    Stepper(const Stepper &) = delete;
    Stepper &operator=(const Stepper &) = delete;

    // Both return the configuration, or the reason of a failure.
    std::string start()
    {
        wm_err err;
        workflow_effects_init(&effects_);
        wm_code code =
            workflow_step_start(chart_, arena_, &identity_, chart_->data, &state_, &effects_, &err);
        return code == WM_OK ? configuration() : err.reason;
    }
    std::string send(const std::string &name, const std::string &data = "{}")
    {
        wm_err err;
        workflow_state after;
        workflow_event event = {wm_arena_strndup(arena_, name.data(), name.size()),
                                parse(arena_, data)};
        workflow_effects_init(&effects_);
        if (workflow_step(chart_, arena_, &identity_, &state_, &event, &after, &effects_, &err) !=
            WM_OK)
            return err.reason;
        state_ = after;
        return configuration();
    }
    std::string configuration()
    {
        return workflow_state_text(chart_, &state_, arena_);
    }
    std::string data()
    {
        return text_of(arena_, state_.data);
    }
    bool ended() const
    {
        return state_.ended;
    }
    bool handled() const
    {
        return effects_.handled;
    }
    // The effects of the last step, in order: "timer ID EVENT MS", "task NAME {..}", "log TEXT" ...
    std::vector<std::string> effects()
    {
        std::vector<std::string> list;
        for (const workflow_effect *e = effects_.first; e != nullptr; e = e->next) {
            switch (e->kind) {
            case EFFECT_TASK:
                list.push_back(std::string("task ") + e->task->name + " " +
                               text_of(arena_, e->data));
                break;
            case EFFECT_TIMER:
                list.push_back(std::string("timer ") + e->id + " " + e->name + " " +
                               std::to_string(e->delay_ms));
                break;
            case EFFECT_CANCEL:
                list.push_back(std::string("cancel ") + e->id);
                break;
            case EFFECT_SEND:
                list.push_back(std::string("send ") + e->name + " " + text_of(arena_, e->data));
                break;
            case EFFECT_LOG:
                list.push_back(std::string("log ") + e->name);
                break;
            }
        }
        return list;
    }
    const workflow_chart *chart() const
    {
        return chart_;
    }

  private:
    Arena arena_;
    workflow_chart *chart_ = nullptr;
    workflow_state state_ = {};
    workflow_effects effects_ = {};
    workflow_identity identity_ = {"i-1", "ship-1"};
};

} // namespace workflow_test

#endif
