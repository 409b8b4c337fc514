// Charts: what compiles, and that everything wrong is told with its place.
#include "tests/unit/workflow/chart_support.h"

using workflow_test::Arena;
using workflow_test::definition;
using workflow_test::errors_of;
using workflow_test::Stepper;

namespace {

typedef std::vector<std::string> Errors;

TEST(Chart, DescriptorsMatchByParts)
{
    EXPECT_TRUE(workflow_chart_matches("foo", "foo"));
    EXPECT_TRUE(workflow_chart_matches("foo", "foo.bar"));
    EXPECT_FALSE(workflow_chart_matches("foo", "foobar"));
    EXPECT_FALSE(workflow_chart_matches("foo.bar", "foo"));
    EXPECT_TRUE(workflow_chart_matches("", "anything"));
}

TEST(Chart, OneErrorEach)
{
    static const struct {
        const char *json;
        Errors errors;
    } cases[] = {
        {R"({"chartId":"c"})", {"chart.states: FIELD_REQUIRED"}},
        {R"({"chartId":"","states":[{"id":"a"}]})", {"chart.chart_id: FIELD_REQUIRED"}},
        {R"({"chartId":"c","states":[{"id":"a b"}]})", {"chart.states[0].id: ID_MALFORMED"}},
        {R"({"chartId":"c","states":[{"id":"a"},{"id":"a"}]})",
         {"chart.states[1].id: CHART_INVALID"}},
        {R"({"chartId":"c","initial":["x"],"states":[{"id":"a"}]})",
         {"chart.initial[0]: CHART_INVALID"}},
        {R"({"chartId":"c","states":[{"id":"a","kind":"STATE_KIND_PARALLEL"}]})",
         {"chart.states[0].states: CHART_INVALID"}},
        {R"({"chartId":"c","states":[{"id":"a","kind":"STATE_KIND_ATOMIC","states":[{"id":"b"}]}]})",
         {"chart.states[0].states: CHART_INVALID"}},
        {R"({"chartId":"c","states":[{"id":"a","kind":"STATE_KIND_FINAL",
             "transitions":[{"event":"e"}]}]})",
         {"chart.states[0]: CHART_INVALID"}},
        {R"({"chartId":"c","states":[{"id":"a","initial":["b"],"states":[{"id":"x"}]},
             {"id":"b"}]})",
         {"chart.states[0].initial[0]: CHART_INVALID"}},
        {R"({"chartId":"c","states":[{"id":"a","transitions":[{}]}]})",
         {"chart.states[0].transitions[0]: CHART_INVALID"}},
        {R"({"chartId":"c","states":[{"id":"a","transitions":[{"event":"a..b c"}]}]})", {}},
        {R"({"chartId":"c","states":[{"id":"a","transitions":[{"event":"ok b\u00e9"}]}]})",
         {"chart.states[0].transitions[0].event: FIELD_INVALID"}},
        {R"({"chartId":"c","states":[{"id":"a","transitions":[{"event":"e","after":"1s"}]}]})",
         {"chart.states[0].transitions[0].after: CHART_INVALID"}},
        {R"({"chartId":"c","states":[{"id":"a","transitions":[{"after":"0s"}]}]})",
         {"chart.states[0].transitions[0].after: FIELD_INVALID"}},
        {R"({"chartId":"c","states":[{"id":"a","transitions":[{"event":"e","guard":"'x'"}]}]})",
         {"chart.states[0].transitions[0].guard: EXPRESSION_INVALID"}},
        {R"j({"chartId":"c","states":[{"id":"a","transitions":[{"event":"e",
             "guard":"In('z')"}]}]
})j",
         {"chart.states[0].transitions[0].guard: CHART_INVALID"}},
        {R"({"chartId":"c","states":[{"id":"a","onEntry":[{}]}]})",
         {"chart.states[0].on_entry[0]: FIELD_REQUIRED"}},
        {R"({"chartId":"c","states":[{"id":"a","onExit":[{"assign":{"variable":"a..b",
             "expression":"1"}}]}]})",
         {"chart.states[0].on_exit[0].assign.variable: FIELD_INVALID"}},
        {R"({"chartId":"c","states":[{"id":"a","onEntry":[{"startTask":{"name":"t","queue":"q q",
             "lease":"0.5s","retry":{"multiplier":0.5}}}]}]})",
         {"chart.states[0].on_entry[0].start_task.queue: ID_MALFORMED",
          "chart.states[0].on_entry[0].start_task.retry.multiplier: FIELD_INVALID",
          "chart.states[0].on_entry[0].start_task.lease: FIELD_INVALID"}},
        {R"({"chartId":"c","states":[{"id":"a","onEntry":[{"choose":{"branches":[
             {"guard":"tru","actions":[{"raise":{"event":""}}]}]}}]}]})",
         {"chart.states[0].on_entry[0].choose.branches[0].guard: EXPRESSION_INVALID",
          "chart.states[0].on_entry[0].choose.branches[0].actions[0].raise.event: "
          "FIELD_REQUIRED"}},
        {R"({"chartId":"c","states":[{"id":"p","states":[{"id":"h",
             "kind":"STATE_KIND_HISTORY_DEEP"},{"id":"x"}]}]})",
         {"chart.states[0].states[0].transitions: CHART_INVALID"}},
        {R"({"chartId":"c","states":[{"id":"p","states":[{"id":"h","kind":"STATE_KIND_HISTORY_DEEP",
             "transitions":[{"targets":["o"]}]},{"id":"x"}]},{"id":"o"}]})",
         {"chart.states[0].states[0].transitions[0].targets: CHART_INVALID"}},
        {R"({"chartId":"c","states":[{"id":"p","states":[{"id":"h","kind":"STATE_KIND_HISTORY_DEEP",
             "transitions":[{"targets":["g"]}]},{"id":"g","kind":"STATE_KIND_HISTORY_SHALLOW",
             "transitions":[{"targets":["x"]}]},{"id":"x"}]}]})",
         {"chart.states[0].states[0].transitions[0].targets: CHART_INVALID"}},
        {R"({"chartId":"c","states":[{"id":"a","transitions":[{"event":"e",
             "targets":["b","c"]}]},{"id":"b"},{"id":"c"}]})",
         {"chart.states[0].transitions[0].targets: CHART_INVALID"}},
    };
    for (const auto &c : cases)
        EXPECT_EQ(errors_of(c.json), c.errors) << c.json;
}

TEST(Chart, TellsAllErrorsAtOnce)
{
    Errors errors = errors_of(R"({"chartId":"bad id","states":[
        {"id":"a","transitions":[{"event":"x","guard":"data.x ===","targets":["nowhere"]}]},
        {"id":"a","states":[{"id":"in","onEntry":[{"assign":{"variable":"x"}}]}]}]})");
    EXPECT_EQ(errors, (Errors{"chart.chart_id: ID_MALFORMED", "chart.states[1].id: CHART_INVALID",
                              "chart.states[0].transitions[0].guard: EXPRESSION_INVALID",
                              "chart.states[0].transitions[0].targets[0]: CHART_INVALID",
                              "chart.states[1].states[0].on_entry[0].assign.expression: "
                              "FIELD_REQUIRED"}));
}

std::string nested(int depth)
{
    std::string inner = R"({"id":"s0"})";
    for (int i = 1; i < depth; i++)
        inner = R"({"id":"s)" + std::to_string(i) + R"(","states":[)" + inner + "]}";
    return R"({"chartId":"c","states":[)" + inner + "]}";
}

TEST(Chart, HasLimits)
{
    EXPECT_EQ(errors_of(nested(CHART_DEPTH_MAX)), Errors{});
    EXPECT_EQ(errors_of(nested(CHART_DEPTH_MAX + 1)), Errors{"chart.states: CHART_INVALID"});
    std::string many = R"({"chartId":"c","states":[)";
    for (int i = 0; i <= CHART_STATES_MAX; i++)
        many += (i ? "," : "") + std::string(R"({"id":"s)") + std::to_string(i) + R"("})";
    EXPECT_EQ(errors_of(many + "]}"), Errors{"chart.states: FIELD_TOO_LONG"});
}

TEST(Chart, KeepsNoMoreThanAHundredErrors)
{
    std::string json = R"({"chartId":"c","states":[)";
    for (int i = 0; i < 300; i++)
        json += (i ? "," : "") + std::string(R"({"id":""})");
    EXPECT_EQ(errors_of(json + "]}").size(), static_cast<size_t>(CHART_DIAGNOSTICS_MAX));
}

TEST(Chart, NumbersStatesInDocumentOrder)
{
    Stepper run(
        R"({"chartId":"c","states":[{"id":"a","states":[{"id":"b"},{"id":"c"}]},{"id":"d"}]})");
    const workflow_chart *chart = run.chart();
    EXPECT_EQ(workflow_chart_find(chart, "a"), 1);
    EXPECT_EQ(workflow_chart_find(chart, "c"), 3);
    EXPECT_EQ(workflow_chart_find(chart, "d"), 4);
    EXPECT_EQ(workflow_chart_find(chart, "zzz"), -1);
    EXPECT_EQ(chart->states[1].end, 4);
    EXPECT_EQ(chart->states[3].parent, 1);
}

TEST(Chart, RetryHasDefaults)
{
    Stepper run(R"({"chartId":"c","states":[{"id":"a","onEntry":[{"startTask":{"name":"t"}}]}]})");
    const chart_action *task = &run.chart()->states[1].on_entry.actions[0];
    EXPECT_STREQ(task->id, "default");
    EXPECT_EQ(task->lease_ms, 30000);
    EXPECT_EQ(task->retry.initial_ms, 1000);
    EXPECT_EQ(task->retry.max_ms, 60000);
    EXPECT_EQ(task->retry.multiplier, 2);
    EXPECT_EQ(task->retry.attempts_max, 10);
}

TEST(Chart, NormalFormSortsMaps)
{
    Arena arena;
    const char *one = R"({"chartId":"c","data":{"b":1,"a":{"y":1,"x":2}},"states":[{"id":"s",
        "onEntry":[{"startTask":{"name":"t","input":{"q":"1","p":"2"}}}]}]})";
    const char *two = R"({"chartId":"c","data":{"a":{"x":2,"y":1},"b":1},"states":[{"id":"s",
        "onEntry":[{"startTask":{"name":"t","input":{"p":"2","q":"1"}}}]}]})";
    std::string packed[2];
    for (int i = 0; i < 2; i++) {
        Waymark__Workflow__V1__Chart *chart = definition(arena, i == 0 ? one : two);
        workflow_chart_normalize(chart);
        packed[i].resize(waymark__workflow__v1__chart__get_packed_size(chart));
        waymark__workflow__v1__chart__pack(chart, reinterpret_cast<uint8_t *>(&packed[i][0]));
    }
    EXPECT_EQ(packed[0], packed[1]);
}

TEST(Chart, DurationsRoundUpAndHaveLimits)
{
    Google__Protobuf__Duration d = GOOGLE__PROTOBUF__DURATION__INIT;
    int64_t ms = -1;
    EXPECT_TRUE(workflow_duration_ms(nullptr, 1000, &ms));
    EXPECT_EQ(ms, 0);
    d.nanos = 1;
    EXPECT_TRUE(workflow_duration_ms(&d, 1000, &ms));
    EXPECT_EQ(ms, 1);
    d.seconds = 1;
    EXPECT_FALSE(workflow_duration_ms(&d, 1000, &ms));
    d.seconds = -1;
    EXPECT_FALSE(workflow_duration_ms(&d, 1000, &ms));
    d.seconds = INT64_MAX;
    EXPECT_FALSE(workflow_duration_ms(&d, CHART_DELAY_MS_MAX, &ms));
}

} // namespace
