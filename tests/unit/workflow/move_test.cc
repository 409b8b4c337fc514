// Moves: what a transaction writes for an instance.
#include "server/store/store.h"
#include "server/workflow/move.h"
#include "tests/unit/workflow/chart_support.h"
#include "waymark/workflow/v1/record.pb-c.h"

using workflow_test::Arena;
using workflow_test::parse;
using workflow_test::Stepper;

namespace {

class Moving {
  public:
    explicit Moving(const std::string &json) : run(json)
    {
        move.namespace_id = 1;
        move.instance_id = "i-1";
        move.entity_id = "";
        move.chart = run.chart();
        workflow_move_init(&move);
    }
    wm_code start(const char *input = "{}")
    {
        move_take take = {};
        take.kind = WAYMARK__WORKFLOW__V1__HISTORY_KIND__HISTORY_KIND_STARTED;
        take.event = "";
        take.data = parse(arena, input);
        take.event_time_us = STORE_NULL_INT;
        return workflow_move_start(&move, arena, &take, &err);
    }
    wm_code send(const char *event, const char *data = "{}", const char *request_id = nullptr)
    {
        move_take take = {};
        take.kind = WAYMARK__WORKFLOW__V1__HISTORY_KIND__HISTORY_KIND_EVENT;
        take.event = event;
        take.data = parse(arena, data);
        take.request_id = request_id;
        take.event_time_us = STORE_NULL_INT;
        return workflow_move_take(&move, arena, &take, &err);
    }
    // As if the transaction had committed and another one had read the instance.
    void reload()
    {
        const char *data = move.data;
        const void *memory = move.memory;
        size_t size = move.memory_size;
        bool ended = move.state.ended;
        workflow_move_init(&move);
        ASSERT_EQ(workflow_move_load(&move, arena, data, memory, size, ended, &err), WM_OK);
    }

    Arena arena;
    Stepper run;
    workflow_move move = {};
    wm_err err = {};
};

TEST(Move, EntriesAreNumberedWithoutGaps)
{
    Moving m(R"({"chartId":"c","data":{"n":0},"states":[{"id":"a","transitions":[
        {"event":"e","targets":["b"]}]},{"id":"b"}]})");
    ASSERT_EQ(m.start(R"({"x":1})"), WM_OK);
    EXPECT_STREQ(m.move.data, R"({"n":0,"x":1})");
    ASSERT_EQ(m.send("e", "{}", "r1"), WM_OK);
    ASSERT_EQ(m.send("e"), WM_OK);
    EXPECT_EQ(m.move.revision, 3);
    const move_entry *entry = m.move.entries;
    EXPECT_EQ(entry->revision, 1);
    EXPECT_STREQ(entry->to, "a");
    EXPECT_STREQ(entry->next->from, "a");
    EXPECT_STREQ(entry->next->to, "b");
    EXPECT_TRUE(entry->next->handled);
    EXPECT_FALSE(entry->next->next->handled);
    EXPECT_EQ(workflow_move_find_request(&m.move, "r1"), entry->next);
    EXPECT_EQ(workflow_move_find_request(&m.move, "r2"), nullptr);
}

TEST(Move, SentEventsAreTakenInTheSameEntry)
{
    Moving m(R"({"chartId":"c","states":[{"id":"a","onEntry":[{"send":{"event":"next"}}],
        "transitions":[{"event":"next","targets":["b"]}]},{"id":"b"}]})");
    ASSERT_EQ(m.start(), WM_OK);
    EXPECT_STREQ(m.move.configuration, "b");
    EXPECT_EQ(m.move.entries->next, nullptr);
    EXPECT_STREQ(m.move.entries->logs, R"(["sent next"])");
}

TEST(Move, EndlessSendingIsStopped)
{
    Moving m(R"({"chartId":"c","states":[{"id":"a","transitions":[
        {"event":"x","actions":[{"send":{"event":"x"}}]}]}]})");
    ASSERT_EQ(m.start(), WM_OK);
    EXPECT_EQ(m.send("x"), WM_PRECONDITION);
    EXPECT_STREQ(m.err.reason, "CHART_LOOPS");
    EXPECT_EQ(m.move.revision, 1);
}

// Each step is well within its memory; a hundred of them would not be.
TEST(Move, SendingIsStoppedWhenItTakesTooMuchMemory)
{
    std::string actions = R"({"send":{"event":"x"}})";
    for (int i = 0; i < 200; i++)
        actions += R"(,{"assign":{"variable":"t","expression":"data.s + 'y'"}})";
    Moving m(R"({"chartId":"c","data":{"s":")" + std::string(60000, 'x') +
             R"("},"states":[{"id":"a","transitions":[{"event":"x","actions":[)" + actions +
             R"(]}]}]})");
    ASSERT_EQ(m.start(), WM_OK);
    EXPECT_EQ(m.send("x"), WM_PRECONDITION);
    EXPECT_STREQ(m.err.reason, "CHART_LOOPS");
    EXPECT_LT(wm_arena_used(m.arena), 60u * 1024 * 1024);
}

// Each sent event comes to rest just in time; together they would keep a lane for minutes.
TEST(Move, SendingIsStoppedAfterTooManyMicrosteps)
{
    Moving m(R"({"chartId":"c","data":{"n":0},"states":[
        {"id":"a","transitions":[{"event":"x","targets":["b"],"actions":[
            {"send":{"event":"x"}},{"assign":{"variable":"n","expression":"0"}}]}]},
        {"id":"b","transitions":[
            {"guard":"data.n < 500","targets":["b"],"actions":[{"assign":{"variable":"n","expression":"data.n + 1"}}]},
            {"targets":["a"]}]}]})");
    ASSERT_EQ(m.start(), WM_OK);
    EXPECT_EQ(m.send("x"), WM_PRECONDITION);
    EXPECT_STREQ(m.err.reason, "CHART_LOOPS");
}

TEST(Move, HistoryMemorySurvivesStorage)
{
    Moving m(R"({"chartId":"c","states":[
        {"id":"m","transitions":[{"event":"out","targets":["o"]}],
         "states":[{"id":"h","kind":"STATE_KIND_HISTORY_DEEP","transitions":[{"targets":["m1"]}]},
                   {"id":"m1","transitions":[{"event":"n","targets":["m2"]}]},{"id":"m2"}]},
        {"id":"o","transitions":[{"event":"in","targets":["h"]}]}]})");
    ASSERT_EQ(m.start(), WM_OK);
    ASSERT_EQ(m.send("n"), WM_OK);
    ASSERT_EQ(m.send("out"), WM_OK);
    m.reload();
    ASSERT_EQ(m.send("in"), WM_OK);
    EXPECT_STREQ(m.move.configuration, "m2");
}

TEST(Move, TheLastWordOnATimerCounts)
{
    Moving m(R"({"chartId":"c","states":[
        {"id":"a","transitions":[{"after":"1s","targets":["b"]},{"event":"e","targets":["b"]}]},
        {"id":"b","transitions":[{"event":"e","targets":["a"]}]}]})");
    ASSERT_EQ(m.start(), WM_OK);
    const move_timer *timer = workflow_move_find_timer(&m.move, "after.a.0");
    ASSERT_NE(timer, nullptr);
    EXPECT_TRUE(timer->set);
    ASSERT_EQ(m.send("e"), WM_OK);
    EXPECT_FALSE(timer->set);
    ASSERT_EQ(m.send("e"), WM_OK);
    EXPECT_TRUE(timer->set);
    EXPECT_EQ(timer->next, nullptr);
}

TEST(Move, TasksCarryTheirRecordAndTimeout)
{
    Moving m(R"({"chartId":"c","data":{"n":5},"states":[{"id":"a","onEntry":[{"startTask":{
        "name":"job","queue":"q","input":{"n":"data.n * 2"},"timeout":"10s",
        "retry":{"initialInterval":"0.2s","maxAttempts":4}}}]}]})");
    ASSERT_EQ(m.start(), WM_OK);
    const move_task *task = m.move.tasks;
    ASSERT_NE(task, nullptr);
    EXPECT_STREQ(task->queue, "q");
    EXPECT_STREQ(m.move.entries->started, "job");
    Waymark__Workflow__V1__TaskRecord *record = waymark__workflow__v1__task_record__unpack(
        nullptr, task->record_size, static_cast<const uint8_t *>(task->record));
    ASSERT_NE(record, nullptr);
    EXPECT_EQ(record->input->fields[0]->value->number_value, 10);
    EXPECT_EQ(record->retry->max_attempts, 4);
    EXPECT_EQ(record->retry->initial_interval->nanos, 200000000);
    EXPECT_TRUE(record->has_timeout);
    waymark__workflow__v1__task_record__free_unpacked(record, nullptr);
    const char *id = workflow_task_timer_id(m.arena, &task->id);
    wm_uuid back;
    ASSERT_TRUE(workflow_task_of_timer(id, &back));
    EXPECT_EQ(std::memcmp(&back, &task->id, sizeof back), 0);
    EXPECT_NE(workflow_move_find_timer(&m.move, id), nullptr);
    EXPECT_FALSE(workflow_task_of_timer("after.a.0", &back));
}

TEST(Move, VariablesThatAreTooBigTogetherChangeNothing)
{
    Moving m(R"({"chartId":"c","data":{"s":"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"},"states":[
        {"id":"a","transitions":[
            {"event":"grow","actions":[{"assign":{"variable":"s","expression":"data.s + data.s"}}]},
            {"event":"copy","actions":[
                {"assign":{"variable":"a","expression":"[data.s, data.s]"}},
                {"assign":{"variable":"b","expression":"[data.s]"}},
                {"assign":{"variable":"c","expression":"[data.s, data.s, data.s]"}}]}]}]})");
    ASSERT_EQ(m.start(), WM_OK);
    for (int i = 0; i < 11; i++)
        ASSERT_EQ(m.send("grow"), WM_OK);
    // 64 KiB five times is more than all variables may have.
    EXPECT_EQ(m.send("copy"), WM_PRECONDITION);
    EXPECT_STREQ(m.err.reason, "FIELD_TOO_LONG");
    EXPECT_EQ(m.move.revision, 12);
    EXPECT_LE(std::strlen(m.move.data), static_cast<size_t>(WORKFLOW_VALUE_SIZE_MAX));
}

TEST(Move, FailuresAreWrittenIntoTheHistory)
{
    Moving m(R"({"chartId":"c","states":[{"id":"a"}]})");
    ASSERT_EQ(m.start(), WM_OK);
    move_take take = {};
    take.event = "x";
    take.event_time_us = STORE_NULL_INT;
    wm_err err;
    (void)wm_fail(&err, WM_PRECONDITION, "CHART_LOOPS", "why");
    workflow_move_fail(&m.move, m.arena, &take, &err);
    EXPECT_STREQ(m.move.entries->next->failure, "CHART_LOOPS: why");
    EXPECT_EQ(m.move.revision, 2);
}

} // namespace
