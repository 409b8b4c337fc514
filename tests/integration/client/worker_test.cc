// The worker loop against a TaskService that does what each test wants.
#include <gtest/gtest.h>
#include <unistd.h>
#include <waymark/interceptor.h>
#include <waymark/waymark.h>
#include <waymark/worker.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "server/rpc/rpc.h"
#include "waymark/workflow/v1/task_service.server.h"

namespace {

using Request = Waymark__Workflow__V1__WorkTasksRequest;
using Response = Waymark__Workflow__V1__WorkTasksResponse;
using Task = Waymark__Workflow__V1__Task;
using Ack = Waymark__Workflow__V1__TaskAck;

bool Eventually(const std::function<bool()> &holds, int ms = 15000)
{
    for (int i = 0; i < ms && !holds(); i++)
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    return holds();
}

// Gives out `total` tasks as credits allow; an answer settles a task once.
struct FakeTasks {
    std::mutex lock;
    int total = 0;
    int given = 0;
    int lease_ms = 60000;
    int credits = 0, in_work = 0, in_work_max = 0;
    std::map<std::string, int> settled; // by lease token: how many answers counted
    std::map<std::string, std::string> failures;
    int permanent = 0;        // of them
    int unavailable_acks = 0; // answer so many results with "try again"
    int break_after = 0;      // end the stream, unacknowledged, when so many answers came
    int heartbeats = 0, opens = 0, answers = 0;
    wm_code poison_code = WM_OK; // end the stream with this over a failure "poison" ...
    const char *poison_reason = "WIRE_MALFORMED";
    int poison_left = 1000; // ... so many times
    bool lose_leases = false;
    std::string queue;
    std::deque<std::pair<std::string, std::pair<int, std::string>>> acks;
    bool half_closed = false, ended = false;
};

FakeTasks *fake;

// Writes one message of everything that is due. The lock is held.
void Answer(rpc_call *call)
{
    if (!rpc_is_writable(call) || fake->ended)
        return;
    Response response = WAYMARK__WORKFLOW__V1__WORK_TASKS_RESPONSE__INIT;
    std::vector<Ack> acks(fake->acks.size());
    std::vector<Ack *> ack_list;
    for (size_t i = 0; i < acks.size(); i++) {
        waymark__workflow__v1__task_ack__init(&acks[i]);
        acks[i].lease_token = fake->acks[i].first.data();
        acks[i].code = fake->acks[i].second.first;
        acks[i].reason = fake->acks[i].second.second.data();
        ack_list.push_back(&acks[i]);
    }
    std::vector<Task> tasks;
    std::vector<std::string> tokens, ids;
    std::vector<Task *> task_list;
    Google__Protobuf__Timestamp lease = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
    int64_t end_ms = std::chrono::duration_cast<std::chrono::milliseconds>(
                         std::chrono::system_clock::now().time_since_epoch())
                         .count() +
                     fake->lease_ms;
    lease.seconds = end_ms / 1000;
    lease.nanos = static_cast<int32_t>(end_ms % 1000) * 1000000;
    while (fake->given < fake->total && fake->credits > 0) {
        fake->credits--;
        tokens.push_back("lease-" + std::to_string(fake->given));
        ids.push_back("task-" + std::to_string(fake->given++));
        fake->in_work_max = std::max(fake->in_work_max, ++fake->in_work);
    }
    tasks.resize(tokens.size());
    for (size_t i = 0; i < tasks.size(); i++) {
        waymark__workflow__v1__task__init(&tasks[i]);
        tasks[i].lease_token = tokens[i].data();
        tasks[i].task_id = ids[i].data();
        tasks[i].lease_expire_time = &lease;
        task_list.push_back(&tasks[i]);
    }
    if (!acks.empty() || !tasks.empty()) {
        response.n_acks = ack_list.size();
        response.acks = ack_list.data();
        response.n_tasks = task_list.size();
        response.tasks = task_list.data();
        EXPECT_TRUE(waymark_workflow_v1_task_service_work_tasks_send(call, &response));
        fake->acks.clear();
    } else if (fake->half_closed) {
        fake->ended = true;
        rpc_finish(call);
    }
}

void Settle(rpc_call *call, const std::string &token, bool add_credit)
{
    fake->answers++;
    fake->credits += add_credit;
    if (fake->break_after > 0 && fake->answers == fake->break_after) {
        wm_err err;
        wm_fail(&err, WM_UNAVAILABLE, "SHUTTING_DOWN", "broken on purpose");
        fake->settled[token]++; // it counted, but nobody hears of it
        fake->in_work--;
        fake->ended = true;
        rpc_fail(call, &err);
        return;
    }
    if (fake->unavailable_acks > 0) {
        fake->unavailable_acks--;
        fake->acks.push_back({token, {WAYMARK_UNAVAILABLE, "STORE_UNAVAILABLE"}});
    } else if (fake->settled[token] > 0) {
        fake->acks.push_back({token, {WAYMARK_NOT_FOUND, "TASK_NOT_FOUND"}});
    } else {
        fake->settled[token]++;
        fake->in_work--;
        fake->acks.push_back({token, {0, ""}});
    }
}

void Opened(rpc_call *call)
{
    std::lock_guard<std::mutex> hold(fake->lock);
    fake->half_closed = fake->ended = false;
    fake->acks.clear();
    rpc_read(call);
}

void Message(rpc_call *call, const Request *message)
{
    std::lock_guard<std::mutex> hold(fake->lock);
    switch (message->kind_case) {
    case WAYMARK__WORKFLOW__V1__WORK_TASKS_REQUEST__KIND_OPEN:
        fake->opens++;
        fake->credits = message->open->credits;
        fake->queue = message->open->n_queues > 0 ? message->open->queues[0] : "";
        break;
    case WAYMARK__WORKFLOW__V1__WORK_TASKS_REQUEST__KIND_RESULT:
        Settle(call, message->result->lease_token, message->result->add_credit);
        break;
    case WAYMARK__WORKFLOW__V1__WORK_TASKS_REQUEST__KIND_FAILURE:
        if (fake->poison_code != WM_OK && fake->poison_left > 0 &&
            std::string(message->failure->message) == "poison") {
            wm_err err;
            fake->poison_left--;
            fake->ended = true;
            wm_fail(&err, fake->poison_code, fake->poison_reason, "poison");
            rpc_fail(call, &err);
            break;
        }
        fake->failures[message->failure->lease_token] = message->failure->message;
        fake->permanent += message->failure->permanent;
        Settle(call, message->failure->lease_token, message->failure->add_credit);
        break;
    case WAYMARK__WORKFLOW__V1__WORK_TASKS_REQUEST__KIND_HEARTBEAT:
        fake->heartbeats++;
        fake->acks.push_back({message->heartbeat->lease_token,
                              {fake->lose_leases ? WAYMARK_ABORTED : 0, "TASK_LEASE_LOST"}});
        break;
    default:
        ADD_FAILURE() << "a message of kind " << message->kind_case;
    }
    if (fake->ended)
        return;
    rpc_read(call);
    Answer(call);
}

void HalfClosed(rpc_call *call)
{
    std::lock_guard<std::mutex> hold(fake->lock);
    fake->half_closed = true;
    Answer(call);
}

void Writable(rpc_call *call)
{
    std::lock_guard<std::mutex> hold(fake->lock);
    Answer(call);
}

void Cancelled(rpc_call *call)
{
    std::lock_guard<std::mutex> hold(fake->lock);
    wm_err err;
    fake->ended = true;
    wm_fail(&err, WM_CANCELLED, "CANCELLED", "the worker went away");
    rpc_fail(call, &err);
}

class WorkerTest : public testing::Test {
  protected:
    void SetUp() override
    {
        wm_err err;
        fake = &tasks_;
        dir_ = "/tmp/wmwXXXXXX";
        ASSERT_NE(mkdtemp(dir_.data()), nullptr);
        address_ = "unix:" + dir_ + "/s";
        handlers_.work_tasks.opened = Opened;
        handlers_.work_tasks.message = Message;
        handlers_.work_tasks.half_closed = HalfClosed;
        handlers_.work_tasks.writable = Writable;
        handlers_.work_tasks.cancelled = Cancelled;
        rpc_service service = waymark_workflow_v1_task_service_bind(&handlers_, storage_, nullptr);
        rpc_listener listener = {};
        rpc_config config = {};
        listener.address = address_.c_str();
        ASSERT_EQ(lane_new(0, &lane_, &err), WM_OK) << err.message;
        config.lanes = &lane_;
        config.n_lanes = 1;
        config.listeners = &listener;
        config.n_listeners = 1;
        config.services = &service;
        config.n_services = 1;
        ASSERT_EQ(rpc_server_start(&config, &server_, &err), WM_OK) << err.message;

        waymark_client_options options = {};
        options.address = address_.c_str();
        options.own_connection = true;
        client_ = waymark_client_new(&options, nullptr);
        ASSERT_NE(client_, nullptr);
    }

    void TearDown() override
    {
        waymark_client_free(client_);
        rpc_server_drain(server_, 0);
        rpc_server_free(server_);
        lane_free(lane_);
        std::remove((dir_ + "/s").c_str());
        rmdir(dir_.c_str());
    }

    size_t Settled()
    {
        std::lock_guard<std::mutex> hold(tasks_.lock);
        return tasks_.settled.size();
    }

    FakeTasks tasks_;
    waymark_workflow_v1_task_service_handlers handlers_ = {};
    rpc_handler storage_[WAYMARK_WORKFLOW_V1_TASK_SERVICE_HANDLERS_N];
    lane *lane_ = nullptr;
    rpc_server *server_ = nullptr;
    waymark_client *client_ = nullptr;
    std::string dir_, address_;
};

// What the handlers of the tests saw.
struct Seen {
    std::atomic<int> handled{0}, settled{0}, refused{0}, opened{0}, broken{0}, cancelled{0},
        held{0};
    std::atomic<bool> go{false};
    std::mutex lock;
    std::map<int, int> outcomes;      // how many, by code
    std::vector<waymark_task *> kept; // until the test answers them
};

void CompleteNow(void *ctx, waymark_task *task)
{
    static_cast<Seen *>(ctx)->handled++;
    waymark_task_complete(task, nullptr);
}

void Count(void *ctx, const waymark_task_outcome *outcome)
{
    auto *seen = static_cast<Seen *>(ctx);
    {
        std::lock_guard<std::mutex> hold(seen->lock);
        seen->outcomes[outcome->code]++;
    }
    if (outcome->code == WAYMARK_OK)
        seen->settled++;
    else
        seen->refused++;
}

void Connected(void *ctx, const waymark_status *status)
{
    auto *seen = static_cast<Seen *>(ctx);
    if (status == nullptr)
        seen->opened++;
    else
        seen->broken++;
}

waymark_worker_options Options(Seen *seen)
{
    waymark_worker_options options = {};
    options.concurrency = 8;
    options.handle = CompleteNow;
    options.settled = Count;
    options.connected = Connected;
    options.ctx = seen;
    return options;
}

TEST_F(WorkerTest, WorksWithinItsCredits)
{
    Seen seen;
    const char *queue = "repairs";
    {
        std::lock_guard<std::mutex> hold(tasks_.lock);
        tasks_.total = 2000;
    }
    waymark_worker_options options = Options(&seen);
    options.queues = &queue;
    options.n_queues = 1;
    waymark_worker *worker = waymark_worker_start(client_, &options);
    ASSERT_NE(worker, nullptr);
    EXPECT_TRUE(Eventually([&] { return seen.settled == 2000; }));
    waymark_worker_stop(worker, 1000);
    std::lock_guard<std::mutex> hold(tasks_.lock);
    EXPECT_EQ(seen.handled, 2000);
    EXPECT_EQ(seen.opened, 1);
    EXPECT_EQ(seen.broken, 0);
    EXPECT_EQ(tasks_.queue, "repairs");
    EXPECT_LE(tasks_.in_work_max, 8);
}

void CompleteSlowly(void *ctx, waymark_task *task)
{
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    CompleteNow(ctx, task);
}

TEST_F(WorkerTest, ThreadsMayBlock)
{
    Seen seen;
    {
        std::lock_guard<std::mutex> hold(tasks_.lock);
        tasks_.total = 100;
    }
    waymark_worker_options options = Options(&seen);
    options.threads = 4;
    options.handle = CompleteSlowly;
    waymark_worker *worker = waymark_worker_start(client_, &options);
    EXPECT_TRUE(Eventually([&] { return seen.settled == 100; }));
    waymark_worker_stop(worker, 1000);
    EXPECT_EQ(seen.handled, 100);
}

void FailAll(void *ctx, waymark_task *task)
{
    static_cast<Seen *>(ctx)->handled++;
    waymark_task_fail(task, "the crane is broken", false, 1500);
}

TEST_F(WorkerTest, FailuresAreTold)
{
    Seen seen;
    {
        std::lock_guard<std::mutex> hold(tasks_.lock);
        tasks_.total = 3;
    }
    waymark_worker_options options = Options(&seen);
    options.handle = FailAll;
    waymark_worker *worker = waymark_worker_start(client_, &options);
    EXPECT_TRUE(Eventually([&] { return seen.settled == 3; }));
    waymark_worker_stop(worker, 1000);
    std::lock_guard<std::mutex> hold(tasks_.lock);
    EXPECT_EQ(tasks_.failures["lease-1"], "the crane is broken");
}

// Each of the first tasks fails with one of these; the others are done.
const struct {
    std::string message, expected;
} kMessages[] = {
    {"caf\xc3\xa9", "caf\xc3\xa9"},
    {"caf\xe9 closed", "caf? closed"},
    {"\xff\xfe", "??"},
    {"an end \xe2\x82", "an end ??"},
    {std::string(4095, 'a') + "\xc3\xa9 more", std::string(4095, 'a')},
    {std::string(4094, 'a') + "\xc3\xa9 more", std::string(4094, 'a') + "\xc3\xa9"},
    {std::string(4093, 'a') + "\xf0\x9f\x9a\xa2", std::string(4093, 'a')},
    {std::string(5000, '\xe9'), std::string(4096, '?')},
    {"", ""},
};
constexpr size_t kMessagesN = sizeof(kMessages) / sizeof(kMessages[0]);

size_t Number(waymark_task *task)
{
    return std::stoul(std::string(waymark_task_get(task)->task_id).substr(5));
}

void FailInWords(void *ctx, waymark_task *task)
{
    size_t n = Number(task);
    if (n >= kMessagesN)
        return CompleteNow(ctx, task);
    static_cast<Seen *>(ctx)->handled++;
    waymark_task_fail(task, kMessages[n].message.c_str(), false, -1);
}

TEST_F(WorkerTest, AnyMessageOfAFailureArrives)
{
    Seen seen;
    {
        std::lock_guard<std::mutex> hold(tasks_.lock);
        tasks_.total = kMessagesN + 1;
    }
    waymark_worker_options options = Options(&seen);
    options.handle = FailInWords;
    waymark_worker *worker = waymark_worker_start(client_, &options);
    EXPECT_TRUE(Eventually([&] { return seen.settled == kMessagesN + 1; }));
    waymark_worker_stop(worker, 1000);
    EXPECT_EQ(seen.broken, 0);
    std::lock_guard<std::mutex> hold(tasks_.lock);
    for (size_t i = 0; i < kMessagesN; i++)
        EXPECT_TRUE(tasks_.failures["lease-" + std::to_string(i)] == kMessages[i].expected) << i;
}

using Struct = Google__Protobuf__Struct;

// Completes with {"a": text}, in so many lists.
void CompleteWith(waymark_task *task, const std::string &text, size_t lists = 0)
{
    std::vector<Google__Protobuf__Value> values(lists + 1);
    std::vector<Google__Protobuf__ListValue> held(lists);
    std::vector<Google__Protobuf__Value *> items(lists);
    for (size_t i = 0; i < lists; i++) {
        google__protobuf__value__init(&values[i]);
        google__protobuf__list_value__init(&held[i]);
        items[i] = &values[i + 1];
        held[i].n_values = 1;
        held[i].values = &items[i];
        values[i].kind_case = GOOGLE__PROTOBUF__VALUE__KIND_LIST_VALUE;
        values[i].list_value = &held[i];
    }
    google__protobuf__value__init(&values[lists]);
    values[lists].kind_case = GOOGLE__PROTOBUF__VALUE__KIND_STRING_VALUE;
    values[lists].string_value = const_cast<char *>(text.c_str());
    Google__Protobuf__Struct__FieldsEntry entry = GOOGLE__PROTOBUF__STRUCT__FIELDS_ENTRY__INIT;
    Google__Protobuf__Struct__FieldsEntry *entries[] = {&entry};
    Struct result = GOOGLE__PROTOBUF__STRUCT__INIT;
    entry.key = const_cast<char *>("a");
    entry.value = &values[0];
    result.n_fields = 1;
    result.fields = entries;
    waymark_task_complete(task, &result);
}

// The deepest that the server reads: of 64 levels the request, the result, the struct, its entry
// and its value take five, and a list takes two.
constexpr size_t kListsMax = 29;

void CompleteOddly(void *ctx, waymark_task *task)
{
    static_cast<Seen *>(ctx)->handled++;
    switch (Number(task)) {
    case 0:
        return CompleteWith(task, std::string(5 << 20, 'x'));
    case 1:
        return CompleteWith(task, std::string(80 << 20, 'x'));
    case 2:
        return CompleteWith(task, "caf\xe9");
    case 3:
        return CompleteWith(task, "deep", kListsMax + 1);
    case 4:
        return CompleteWith(task, "not too deep", kListsMax);
    default:
        return CompleteWith(task, "fine");
    }
}

TEST_F(WorkerTest, AResultThatNobodyCanReadIsAFailure)
{
    Seen seen;
    {
        std::lock_guard<std::mutex> hold(tasks_.lock);
        tasks_.total = 6;
    }
    waymark_worker_options options = Options(&seen);
    options.handle = CompleteOddly;
    waymark_worker *worker = waymark_worker_start(client_, &options);
    EXPECT_TRUE(Eventually([&] { return seen.settled == 6; }));
    waymark_worker_stop(worker, 1000);
    EXPECT_EQ(seen.broken, 0);
    std::lock_guard<std::mutex> hold(tasks_.lock);
    EXPECT_EQ(tasks_.failures.size(), 4u);
    EXPECT_EQ(tasks_.permanent, 4);
    for (const auto &failure : tasks_.failures)
        EXPECT_EQ(failure.second.find("the result cannot be sent: "), 0u) << failure.second;
    EXPECT_EQ(tasks_.failures.count("lease-4"), 0u);
}

TEST_F(WorkerTest, AnswersAreRepeatedAfterABreak)
{
    Seen seen;
    {
        std::lock_guard<std::mutex> hold(tasks_.lock);
        tasks_.total = 50;
        tasks_.break_after = 20;
    }
    waymark_worker_options options = Options(&seen);
    waymark_worker *worker = waymark_worker_start(client_, &options);
    EXPECT_TRUE(Eventually([&] { return seen.settled + seen.refused == 50; }));
    waymark_worker_stop(worker, 1000);
    std::lock_guard<std::mutex> hold(tasks_.lock);
    EXPECT_EQ(tasks_.settled.size(), 50u);
    EXPECT_GE(seen.refused, 1); // the one whose acknowledgement was lost
    EXPECT_EQ(seen.broken, 1);
    EXPECT_EQ(tasks_.opens, 2);
}

// What the server cannot stand, although the worker lets it go.
void FailPoisonously(void *ctx, waymark_task *task)
{
    size_t n = Number(task);
    static_cast<Seen *>(ctx)->handled++;
    waymark_task_fail(task, n == 7 || n == 20 ? "poison" : "no", false, -1);
}

TEST_F(WorkerTest, AnAnswerThatEndsEveryStreamIsGivenUpAlone)
{
    Seen seen;
    {
        std::lock_guard<std::mutex> hold(tasks_.lock);
        tasks_.total = 40;
        tasks_.poison_code = WM_INVALID;
    }
    waymark_worker_options options = Options(&seen);
    options.handle = FailPoisonously;
    waymark_worker *worker = waymark_worker_start(client_, &options);
    EXPECT_TRUE(Eventually([&] { return seen.settled + seen.refused == 40; }));
    waymark_worker_stop(worker, 1000);
    EXPECT_EQ(seen.outcomes[WAYMARK_INVALID_ARGUMENT], 2);
    EXPECT_EQ(Settled(), 38u);
    EXPECT_EQ(seen.handled, 40);
}

// Ends over the poison four times with this, and then stands it.
struct Ending {
    wm_code code;
    const char *reason;
    waymark_code outcome;
    bool given_up;
} const kEndings[] = {
    {WM_UNAVAILABLE, "SHUTTING_DOWN", WAYMARK_UNAVAILABLE, false},
    {WM_EXHAUSTED, "METHOD_BUSY", WAYMARK_RESOURCE_EXHAUSTED, false},
    {WM_EXHAUSTED, "MESSAGE_TOO_LARGE", WAYMARK_RESOURCE_EXHAUSTED, true},
};

class WorkerEndingTest : public WorkerTest, public testing::WithParamInterface<Ending> {};

INSTANTIATE_TEST_SUITE_P(All, WorkerEndingTest, testing::ValuesIn(kEndings));

TEST_P(WorkerEndingTest, OnlyABadMessageIsGivenUp)
{
    Seen seen;
    {
        std::lock_guard<std::mutex> hold(tasks_.lock);
        tasks_.total = 8;
        tasks_.poison_code = GetParam().code;
        tasks_.poison_reason = GetParam().reason;
        tasks_.poison_left = 4;
    }
    waymark_worker_options options = Options(&seen);
    options.handle = FailPoisonously;
    waymark_worker *worker = waymark_worker_start(client_, &options);
    EXPECT_TRUE(Eventually([&] { return seen.settled + seen.refused == 8; }, 30000));
    waymark_worker_stop(worker, 1000);
    EXPECT_EQ(seen.broken, GetParam().given_up ? 3 : 4);
    EXPECT_EQ(seen.outcomes[GetParam().outcome], GetParam().given_up ? 1 : 0);
    EXPECT_EQ(Settled(), GetParam().given_up ? 7u : 8u);
}

TEST_F(WorkerTest, AnswersAreRepeatedWhenTheServerSaysTryAgain)
{
    Seen seen;
    {
        std::lock_guard<std::mutex> hold(tasks_.lock);
        tasks_.total = 5;
        tasks_.unavailable_acks = 3;
    }
    waymark_worker_options options = Options(&seen);
    waymark_worker *worker = waymark_worker_start(client_, &options);
    EXPECT_TRUE(Eventually([&] { return seen.settled == 5; }));
    waymark_worker_stop(worker, 1000);
    std::lock_guard<std::mutex> hold(tasks_.lock);
    EXPECT_EQ(seen.handled, 5);
    EXPECT_EQ(tasks_.answers, 8);
}

void HoldUntilCancelled(void *ctx, waymark_task *task)
{
    auto *seen = static_cast<Seen *>(ctx);
    seen->held++;
    while (!waymark_task_is_cancelled(task) && !seen->go)
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
    if (waymark_task_is_cancelled(task))
        seen->cancelled++;
    CompleteNow(ctx, task);
}

TEST_F(WorkerTest, HeartbeatsKeepLeases)
{
    Seen seen;
    {
        std::lock_guard<std::mutex> hold(tasks_.lock);
        tasks_.total = 1;
        tasks_.lease_ms = 1000;
    }
    waymark_worker_options options = Options(&seen);
    options.threads = 1;
    options.handle = HoldUntilCancelled;
    waymark_worker *worker = waymark_worker_start(client_, &options);
    EXPECT_TRUE(Eventually([&] {
        std::lock_guard<std::mutex> hold(tasks_.lock);
        return tasks_.heartbeats >= 3;
    }));
    seen.go = true;
    EXPECT_TRUE(Eventually([&] { return seen.settled == 1; }));
    waymark_worker_stop(worker, 1000);
    EXPECT_EQ(seen.cancelled, 0);
}

TEST_F(WorkerTest, ALostLeaseIsSeen)
{
    Seen seen;
    {
        std::lock_guard<std::mutex> hold(tasks_.lock);
        tasks_.total = 1;
        tasks_.lease_ms = 1000;
        tasks_.lose_leases = true;
    }
    waymark_worker_options options = Options(&seen);
    options.threads = 1;
    options.handle = HoldUntilCancelled;
    waymark_worker *worker = waymark_worker_start(client_, &options);
    EXPECT_TRUE(Eventually([&] { return seen.cancelled == 1; }));
    waymark_worker_stop(worker, 1000);
}

TEST_F(WorkerTest, StopWaitsForWorkAndItsAcknowledgement)
{
    Seen seen;
    {
        std::lock_guard<std::mutex> hold(tasks_.lock);
        tasks_.total = 4;
    }
    waymark_worker_options options = Options(&seen);
    options.threads = 4;
    options.handle = HoldUntilCancelled;
    waymark_worker *worker = waymark_worker_start(client_, &options);
    EXPECT_TRUE(Eventually([&] { return seen.held == 4; }));
    waymark_worker_stop(worker, 5000);
    EXPECT_EQ(seen.handled, 4);
    EXPECT_EQ(seen.settled, 4);
    EXPECT_EQ(Settled(), 4u);
}

// A lock of the user's, which both an interceptor and a handler take.
struct Shared {
    std::mutex lock;
    std::atomic<int> opens{0}, holders{0}, stuck{0};
    waymark_suspension *suspension = nullptr;

    static void Start(void *ctx, waymark_context *)
    {
        auto *shared = static_cast<Shared *>(ctx);
        bool locked = false;
        shared->opens++;
        Eventually([&] { return locked = locked || shared->lock.try_lock(); }, 3000);
        if (locked)
            shared->lock.unlock();
        else
            shared->stuck++;
    }

    // The second opening waits for the test.
    static void Suspend(void *ctx, waymark_context *call)
    {
        auto *shared = static_cast<Shared *>(ctx);
        if (shared->opens == 1)
            shared->suspension = waymark_context_suspend(call);
        shared->opens++;
    }

    // The first task's answer breaks the stream while the second one's handler has the lock.
    static void Handle(void *ctx, waymark_task *task)
    {
        auto *shared = static_cast<Shared *>(ctx);
        if (std::string(waymark_task_get(task)->task_id) == "task-0") {
            Eventually([&] { return shared->holders == 1; });
            waymark_task_complete(task, nullptr);
            return;
        }
        std::lock_guard<std::mutex> hold(shared->lock);
        shared->holders++;
        Eventually([&] { return shared->opens == 2; });
        waymark_task_complete(task, nullptr);
    }
};

waymark_client *ClientWith(const std::string &address, const waymark_interceptor *interceptor)
{
    waymark_client_options options = {};
    options.address = address.c_str();
    options.own_connection = true;
    options.interceptors = interceptor;
    options.n_interceptors = 1;
    return waymark_client_new(&options, nullptr);
}

TEST_F(WorkerTest, InterceptorsRunWithoutItsLock)
{
    Shared shared;
    waymark_interceptor interceptor = {};
    interceptor.ctx = &shared;
    interceptor.start = Shared::Start;
    waymark_client *client = ClientWith(address_, &interceptor);
    {
        std::lock_guard<std::mutex> hold(tasks_.lock);
        tasks_.total = 2;
        tasks_.break_after = 1;
    }
    waymark_worker_options options = {};
    options.ctx = &shared;
    options.threads = 2;
    options.handle = Shared::Handle;
    waymark_worker *worker = waymark_worker_start(client, &options);
    EXPECT_TRUE(Eventually([&] { return Settled() == 2; }));
    waymark_worker_stop(worker, 1000);
    waymark_client_free(client);
    EXPECT_EQ(shared.stuck, 0);
}

void Keep(void *ctx, waymark_task *task)
{
    auto *seen = static_cast<Seen *>(ctx);
    std::lock_guard<std::mutex> hold(seen->lock);
    seen->kept.push_back(task);
    seen->held++;
}

TEST_F(WorkerTest, AnAnswerBeforeTheStreamIsAskedGivesNoCreditBack)
{
    Seen seen;
    Shared shared;
    waymark_interceptor interceptor = {};
    interceptor.ctx = &shared;
    interceptor.start = Shared::Suspend;
    waymark_client *client = ClientWith(address_, &interceptor);
    {
        std::lock_guard<std::mutex> hold(tasks_.lock);
        tasks_.total = 10;
        tasks_.break_after = 1;
    }
    waymark_worker_options options = Options(&seen);
    options.concurrency = 2;
    options.handle = Keep;
    waymark_worker *worker = waymark_worker_start(client, &options);
    ASSERT_TRUE(Eventually([&] { return seen.held == 2; }));
    waymark_task_complete(seen.kept[0], nullptr); // breaks the stream
    ASSERT_TRUE(Eventually([&] { return shared.opens == 2; }));
    waymark_task_complete(seen.kept[1], nullptr);
    waymark_suspension_resume(shared.suspension, nullptr, 0);
    EXPECT_TRUE(Eventually([&] { return seen.settled == 1 && seen.refused == 1; }));
    EXPECT_TRUE(Eventually([&] { return seen.held >= 4; }));
    {
        std::lock_guard<std::mutex> hold(tasks_.lock);
        EXPECT_EQ(tasks_.given, 4); // two more, not three
        tasks_.total = 4;
    }
    std::vector<waymark_task *> left;
    {
        std::lock_guard<std::mutex> hold(seen.lock);
        left.assign(seen.kept.begin() + 2, seen.kept.end());
    }
    for (auto *task : left)
        waymark_task_complete(task, nullptr);
    waymark_worker_stop(worker, 1000);
    waymark_client_free(client);
}

TEST_F(WorkerTest, TheLongestGraceWaitsToo)
{
    Seen seen;
    {
        std::lock_guard<std::mutex> hold(tasks_.lock);
        tasks_.total = 1;
        tasks_.unavailable_acks = 1; // the answer counts half a second later
    }
    waymark_worker_options options = Options(&seen);
    options.threads = 1;
    options.handle = HoldUntilCancelled;
    waymark_worker *worker = waymark_worker_start(client_, &options);
    EXPECT_TRUE(Eventually([&] { return seen.held == 1; }));
    waymark_worker_stop(worker, INT64_MAX);
    EXPECT_EQ(seen.settled, 1);
}

std::atomic<bool> stopped{false};

// The stop comes while connected() tells of a broken stream, and waits for it.
void ConnectedSlowly(void *ctx, const waymark_status *)
{
    auto *seen = static_cast<Seen *>(ctx);
    seen->held++;
    EXPECT_FALSE(Eventually([] { return stopped.load(); }, 300));
    seen->broken++;
}

TEST(Worker, StopWaitsForItsLastCallback)
{
    Seen seen;
    waymark_client_options options = {};
    options.address = "127.0.0.1:1";
    waymark_client *client = waymark_client_new(&options, nullptr);
    waymark_worker_options worker_options = Options(&seen);
    worker_options.connected = ConnectedSlowly;
    waymark_worker *worker = waymark_worker_start(client, &worker_options);
    EXPECT_TRUE(Eventually([&] { return seen.held > 0; }));
    waymark_worker_stop(worker, 0);
    stopped = true;
    EXPECT_EQ(seen.broken, seen.held);
    waymark_client_free(client);
}

TEST(Worker, StopsWithoutAServer)
{
    Seen seen;
    waymark_client_options options = {};
    options.address = "127.0.0.1:1";
    waymark_client *client = waymark_client_new(&options, nullptr);
    waymark_worker_options worker_options = Options(&seen);
    waymark_worker *worker = waymark_worker_start(client, &worker_options);
    EXPECT_TRUE(Eventually([&] { return seen.broken >= 2; }));
    waymark_worker_stop(worker, 1000);
    waymark_client_free(client);
}

} // namespace
