// The stepper: cases of our own beside the published ones (tests/conformance).
#include "tests/unit/workflow/chart_support.h"

using workflow_test::Stepper;

namespace {

typedef std::vector<std::string> List;

TEST(Step, LogsEntryAndExitInOrder)
{
    Stepper run(R"({"chartId":"c","states":[
        {"id":"a","onExit":[{"log":{"label":"-a"}}],
         "states":[{"id":"a1","onExit":[{"log":{"label":"-a1"}}],
                    "transitions":[{"event":"go","targets":["b2"],"actions":[{"log":{"label":"go"}}]}]}]},
        {"id":"b","onEntry":[{"log":{"label":"+b"}}],
         "states":[{"id":"b1"},{"id":"b2","onEntry":[{"log":{"label":"+b2"}}]}]}]})");
    EXPECT_EQ(run.start(), "a1");
    EXPECT_EQ(run.send("go"), "b2");
    EXPECT_EQ(run.effects(), (List{"log -a1", "log -a", "log go", "log +b", "log +b2"}));
}

TEST(Step, InnerTransitionsWinAndTheFirstOfAState)
{
    Stepper run(R"({"chartId":"c","states":[
        {"id":"a","transitions":[{"event":"e","targets":["outer"]}],
         "states":[{"id":"in","transitions":[{"event":"e","guard":"false","targets":["x"]},
                                             {"event":"e","targets":["y"]},
                                             {"event":"e","targets":["z"]}]}]},
        {"id":"outer"},{"id":"x"},{"id":"y"},{"id":"z"}]})");
    run.start();
    EXPECT_EQ(run.send("e"), "y");
}

TEST(Step, UnmatchedEventsChangeNothing)
{
    Stepper run(
        R"({"chartId":"c","states":[{"id":"a","transitions":[{"event":"x.y","targets":["b"]}]},
        {"id":"b"}]})");
    run.start();
    EXPECT_EQ(run.send("x"), "a");
    EXPECT_FALSE(run.handled());
    EXPECT_EQ(run.send("x.y.z"), "b");
    EXPECT_TRUE(run.handled());
}

TEST(Step, DoneEventsOfParallelStates)
{
    Stepper run(R"({"chartId":"c","states":[
        {"id":"p","kind":"STATE_KIND_PARALLEL","transitions":[{"event":"done.state.p","targets":["end"]}],
         "states":[{"id":"l","states":[{"id":"l1","transitions":[{"event":"x","targets":["lf"]}]},
                                       {"id":"lf","kind":"STATE_KIND_FINAL"}]},
                   {"id":"r","states":[{"id":"r1","transitions":[{"event":"y","targets":["rf"]}]},
                                       {"id":"rf","kind":"STATE_KIND_FINAL"}]}]},
        {"id":"end","kind":"STATE_KIND_FINAL"}]})");
    EXPECT_EQ(run.start(), "l1 r1");
    EXPECT_EQ(run.send("x"), "lf r1");
    EXPECT_FALSE(run.ended());
    EXPECT_EQ(run.send("y"), "end");
    EXPECT_TRUE(run.ended());
    EXPECT_EQ(run.send("x"), "end");
    EXPECT_FALSE(run.handled());
}

TEST(Step, HistoryRemembersDeepAndShallow)
{
    const char *json = R"({"chartId":"c","states":[
        {"id":"m","transitions":[{"event":"out","targets":["o"]}],
         "states":[{"id":"h","kind":"STATE_KIND_HISTORY_%s","transitions":[{"targets":["m1"]}]},
                   {"id":"m1","states":[{"id":"m11","transitions":[{"event":"n","targets":["m22"]}]}]},
                   {"id":"m2","states":[{"id":"m21"},{"id":"m22"}]}]},
        {"id":"o","transitions":[{"event":"in","targets":["h"]}]}]})";
    for (bool deep : {true, false}) {
        std::string text = json;
        text.replace(text.find("%s"), 2, deep ? "DEEP" : "SHALLOW");
        Stepper run(text);
        EXPECT_EQ(run.start(), "m11");
        EXPECT_EQ(run.send("out"), "o");
        EXPECT_EQ(run.send("in"), "m11");
        EXPECT_EQ(run.send("n"), "m22");
        run.send("out");
        EXPECT_EQ(run.send("in"), deep ? "m22" : "m21");
    }
}

TEST(Step, InternalTransitionsDoNotLeaveTheirState)
{
    const char *json = R"({"chartId":"c","states":[{"id":"s","onExit":[{"log":{"label":"left"}}],
        "transitions":[{"event":"e","targets":["b"],"internal":%s}],
        "states":[{"id":"a"},{"id":"b"}]}]})";
    for (bool internal : {true, false}) {
        std::string text = json;
        text.replace(text.find("%s"), 2, internal ? "true" : "false");
        Stepper run(text);
        run.start();
        EXPECT_EQ(run.send("e"), "b");
        EXPECT_EQ(run.effects(), internal ? List{} : List{"log left"});
    }
}

TEST(Step, TimersAreSetOnEntryAndCancelledOnExit)
{
    Stepper run(R"({"chartId":"c","states":[
        {"id":"a","transitions":[{"event":"x","targets":["b"]},{"after":"1.5s","targets":["b"]}]},
        {"id":"b"}]})");
    run.start();
    EXPECT_EQ(run.effects(), (List{"timer after.a.1 after.a.1 1500"}));
    EXPECT_EQ(run.send("after.a.1"), "b");
    EXPECT_EQ(run.effects(), (List{"cancel after.a.1"}));
}

TEST(Step, ActionsMakeEffects)
{
    Stepper run(
        R"({"chartId":"c","data":{"n":1},"states":[{"id":"a","transitions":[{"event":"go","actions":[
        {"send":{"event":"soon","data":{"x":"data.n"}}},
        {"send":{"event":"late","delay":"2s"}},
        {"send":{"event":"late","delay":"2s"}},
        {"send":{"event":"named","delay":"1s","id":"it"}},
        {"cancel":{"id":"it"}},
        {"startTask":{"name":"job","input":{"who":"instance.id","ev":"event.data.k"}}},
        {"log":{"label":"n","expression":"data.n"}},
        {"log":{"expression":"event.name"}}]}]}]})");
    run.start();
    run.send("go", R"({"k":[1,2]})");
    EXPECT_EQ(run.effects(),
              (List{R"(send soon {"x":1})", "timer send:1 late 2000", "timer send:2 late 2000",
                    "timer send.it named 1000", "cancel send.it",
                    R"(task job {"who":"i-1","ev":[1,2]})", "log n: 1", "log go"}));
}

TEST(Step, ChooseTakesTheFirstBranchThatHolds)
{
    Stepper run(
        R"({"chartId":"c","data":{"n":0},"states":[{"id":"a","transitions":[{"event":"e","actions":[
        {"choose":{"branches":[
            {"guard":"event.data.x > 10","actions":[{"assign":{"variable":"n","expression":"'big'"}}]},
            {"guard":"event.data.x > 5","actions":[{"assign":{"variable":"n","expression":"'middle'"}}]},
            {"actions":[{"assign":{"variable":"n","expression":"'small'"}}]}]}}]}]}]})");
    run.start();
    run.send("e", R"({"x":7})");
    EXPECT_EQ(run.data(), R"({"n":"middle"})");
    run.send("e", R"({"x":1})");
    EXPECT_EQ(run.data(), R"({"n":"small"})");
}

TEST(Step, AFailedActionEndsItsBlockAndRaises)
{
    Stepper run(R"({"chartId":"c","states":[{"id":"a","transitions":[
        {"event":"e","actions":[{"assign":{"variable":"x","expression":"data.no + 1"}},
                                {"assign":{"variable":"y","expression":"1"}}]},
        {"event":"error.execution","targets":["b"],
         "actions":[{"assign":{"variable":"why","expression":"event.data.message"}}]}]},
        {"id":"b"}]})");
    run.start();
    EXPECT_EQ(run.send("e"), "b");
    EXPECT_EQ(run.data(), R"({"why":"x: no such key: no"})");
    EXPECT_EQ(run.effects(), (List{"log x: no such key: no"}));
}

TEST(Step, AGuardThatFailsOnErrorEventsDoesNotLoop)
{
    Stepper run(R"({"chartId":"c","states":[{"id":"a","transitions":[
        {"event":"*","guard":"event.data.x == 1","targets":["b"]}]},{"id":"b"}]})");
    run.start();
    EXPECT_EQ(run.send("e"), "a");
    EXPECT_EQ(run.effects().size(), 2u);
    EXPECT_EQ(run.send("e", R"({"x":1})"), "b");
}

TEST(Step, LoopsAreStopped)
{
    Stepper run(R"({"chartId":"c","states":[
        {"id":"a","transitions":[{"event":"go","targets":["b"]},{"event":"raise",
         "actions":[{"raise":{"event":"raise"}}]}]},
        {"id":"b","transitions":[{"targets":["c"]}]},{"id":"c","transitions":[{"targets":["b"]}]}]})");
    run.start();
    EXPECT_EQ(run.send("go"), "CHART_LOOPS");
    EXPECT_EQ(run.configuration(), "a");
    EXPECT_EQ(run.send("raise"), "CHART_LOOPS");
}

TEST(Step, GrowingValuesAreStopped)
{
    Stepper run(R"({"chartId":"c","data":{"s":"xxxxxxxx"},"states":[
        {"id":"a","transitions":[{"event":"go","targets":["b"]}]},
        {"id":"b","transitions":[{"guard":"true","targets":["b"],
            "actions":[{"assign":{"variable":"s","expression":"data.s + data.s"}}]},
            {"event":"error.execution","targets":["end"]}]},
        {"id":"end"}]})");
    run.start();
    EXPECT_EQ(run.send("go"), "CHART_LOOPS");
}

TEST(Step, ValuesThatWrapOrDoubleThemselvesAreStopped)
{
    for (const char *expression : {"[data.l]", "[data.l, data.l]"}) {
        Stepper run(std::string(R"({"chartId":"c","data":{"l":1},"states":[{"id":"a","transitions":[
            {"event":"go","actions":[{"assign":{"variable":"l","expression":")") +
                    expression + R"("}}]},
            {"event":"error.execution","targets":["stopped"]}]},{"id":"stopped"}]})");
        run.start();
        std::string at = "a";
        for (int i = 0; i < 100 && at == "a"; i++)
            at = run.send("go");
        EXPECT_EQ(at, "stopped");
        EXPECT_EQ(run.effects(), (List{"log l: the value is too long or nested too deep"}));
    }
}

TEST(Step, TasksWithTooMuchInputAreStopped)
{
    std::string task = R"({"startTask":{"name":"t","input":{"s":"data.s"}}})", tasks = task;
    for (int i = 0; i < 40; i++)
        tasks += "," + task;
    Stepper run(R"({"chartId":"c","data":{"s":")" + std::string(40000, 'x') +
                R"("},"states":[{"id":"a","transitions":[{"event":"go","actions":[)" + tasks +
                R"(]}]}]})");
    run.start();
    EXPECT_EQ(run.send("go"), "CHART_LOOPS");
}

TEST(Step, MemoryIsBounded)
{
    std::string assign = R"({"assign":{"variable":"t","expression":"data.s + 'y'"}})",
                assigns = assign;
    for (int i = 0; i < 900; i++)
        assigns += "," + assign;
    Stepper run(R"({"chartId":"c","data":{"s":")" + std::string(60000, 'x') +
                R"("},"states":[{"id":"a","transitions":[{"event":"go","actions":[)" + assigns +
                R"(]}]}]})");
    run.start();
    EXPECT_EQ(run.send("go"), "CHART_LOOPS");
}

TEST(Step, RaisedEventsComeBeforeTheNextExternalOne)
{
    Stepper run(R"({"chartId":"c","states":[
        {"id":"a","transitions":[{"event":"e","targets":["b"],"actions":[{"raise":{"event":"r","data":{"v":"2"}}}]}]},
        {"id":"b","transitions":[{"event":"r","guard":"event.data.v == 2","targets":["c"]}]},
        {"id":"c"}]})");
    run.start();
    EXPECT_EQ(run.send("e"), "c");
}

TEST(Step, StatesAreReadBackFromText)
{
    Stepper run(R"({"chartId":"c","states":[{"id":"p","kind":"STATE_KIND_PARALLEL","states":[
        {"id":"l","states":[{"id":"l1"},{"id":"l2"}]},{"id":"r"}]}]})");
    workflow_test::Arena arena;
    workflow_state state;
    workflow_state_init(&state, run.chart(), arena);
    ASSERT_TRUE(workflow_state_read(run.chart(), "l2 r", state.active));
    EXPECT_STREQ(workflow_state_text(run.chart(), &state, arena), "l2 r");
    EXPECT_TRUE(workflow_set_has(state.active, 1));
    EXPECT_TRUE(workflow_set_has(state.active, 2));
    EXPECT_FALSE(workflow_state_read(run.chart(), "gone", state.active));
}

} // namespace
