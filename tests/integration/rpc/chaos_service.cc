// tests/integration/rpc/chaos_service.cc - see chaos_service.h.
#include "tests/integration/rpc/chaos_service.h"

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>

#include "testing.server.h"

namespace chaos {

// ---- chance ----

namespace {
std::atomic<uint64_t> the_seed{1}, threads{0};
} // namespace

void seed(uint64_t seed)
{
    the_seed = seed;
}

uint64_t below(uint64_t limit)
{
    static thread_local std::mt19937_64 engine(the_seed + 1000003 * ++threads);
    return engine() % limit;
}

bool chance(unsigned percent)
{
    return below(100) < percent;
}

// ---- another thread ----

Elsewhere::Elsewhere() : thread_([this] { main(); })
{
}

Elsewhere::~Elsewhere()
{
    {
        std::lock_guard<std::mutex> hold(mutex_);
        stop_ = true;
    }
    changed_.notify_one();
    thread_.join();
}

void Elsewhere::post(std::function<void()> work)
{
    {
        std::lock_guard<std::mutex> hold(mutex_);
        queue_.push_back(std::move(work));
    }
    changed_.notify_one();
}

void Elsewhere::main()
{
    std::unique_lock<std::mutex> hold(mutex_);
    for (;;) {
        changed_.wait(hold, [this] { return stop_ || !queue_.empty(); });
        if (queue_.empty())
            return;
        auto work = std::move(queue_.front());
        queue_.pop_front();
        hold.unlock();
        if (chance(20))
            usleep(static_cast<useconds_t>(below(2000)));
        work();
        hold.lock();
    }
}

// ---- handlers ----

namespace {

enum class Plan { kNow, kElsewhere, kTimer, kStuck, kFail };

// What a handler keeps of its call, in the call's arena.
struct State {
    Plan plan;
    bool is_ended;    // ended() has come
    bool is_answered; // by this handler, on the loop
    uv_timer_t *timer;
    int64_t left, sum, count;
    size_t size;
};

Service *service_of(const rpc_call *call)
{
    return static_cast<Service *>(rpc_ctx(call));
}

State *state_of(const rpc_call *call)
{
    return static_cast<State *>(rpc_data(call));
}

[[noreturn]] void die(const char *what)
{
    fprintf(stderr, "chaos: %s\n", what);
    abort();
}

State *open(rpc_call *call)
{
    auto *state = static_cast<State *>(wm_arena_alloc(rpc_arena(call), sizeof(State)));
    memset(static_cast<void *>(state), 0, sizeof(*state));
    rpc_set_data(call, state);
    service_of(call)->counts.opened++;
    return state;
}

void any_ended(rpc_call *call)
{
    State *state = state_of(call);
    if (state->is_ended)
        die("ended() came twice");
    if (state->timer != nullptr)
        die("ended() came before the answer");
    state->is_ended = true;
    service_of(call)->counts.ended++;
}

void fail(rpc_call *call)
{
    wm_err err = {};
    auto code = static_cast<wm_code>(1 + below(16));
    if (code == WM_INTERNAL && chance(90)) // each is a line in the log
        code = WM_ABORTED;
    (void)wm_fail(&err, code, "CHAOS", "as chance would have it");
    if (chance(30))
        err.retry_after_ms = 1;
    rpc_fail(call, &err);
}

void reply_echo(rpc_call *call, const Waymark__Testing__V1__EchoRequest *request)
{
    Waymark__Testing__V1__EchoResponse response = WAYMARK__TESTING__V1__ECHO_RESPONSE__INIT;
    response.number = request->number;
    response.payload = request->payload;
    if (chance(5))
        rpc_add_trailing_metadata(call, "chaos-bin", "\0\1\2", 3);
    waymark_testing_v1_echo_service_echo_reply(call, &response);
}

void timer_closed(uv_handle_t *handle)
{
    free(handle);
}

void timer_stop(State *state)
{
    uv_close(reinterpret_cast<uv_handle_t *>(state->timer), timer_closed);
    state->timer = nullptr;
}

// The timer's data is the call; the request lives in the call's arena.
void timer_fired(uv_timer_t *timer)
{
    auto *call = static_cast<rpc_call *>(timer->data);
    timer_stop(state_of(call));
    Waymark__Testing__V1__EchoRequest request = WAYMARK__TESTING__V1__ECHO_REQUEST__INIT;
    if (chance(10))
        fail(call);
    else
        reply_echo(call, &request);
}

void echo_request(rpc_call *call, const Waymark__Testing__V1__EchoRequest *request)
{
    static const Plan plans[] = {Plan::kNow,   Plan::kNow,   Plan::kElsewhere, Plan::kElsewhere,
                                 Plan::kTimer, Plan::kTimer, Plan::kStuck,     Plan::kFail};
    State *state = open(call);
    state->plan = plans[below(WM_ARRAY_LEN(plans))];
    switch (state->plan) {
    case Plan::kNow:
        reply_echo(call, request);
        return;
    case Plan::kElsewhere:
        service_of(call)->elsewhere.post([call, request] { reply_echo(call, request); });
        return;
    case Plan::kTimer:
        state->timer = static_cast<uv_timer_t *>(calloc(1, sizeof(uv_timer_t)));
        state->timer->data = call;
        uv_timer_init(lane_loop(rpc_lane(call)), state->timer);
        uv_timer_start(state->timer, timer_fired, below(20), 0);
        return;
    case Plan::kStuck:
        return;
    case Plan::kFail:
        fail(call);
        return;
    }
}

void echo_cancelled(rpc_call *call)
{
    State *state = state_of(call);
    service_of(call)->counts.cancelled++;
    if (state->plan == Plan::kStuck) {
        fail(call);
    } else if (state->plan == Plan::kTimer && state->timer != nullptr && chance(50)) {
        timer_stop(state); // else the timer answers, late
        fail(call);
    }
}

void nothing_request(rpc_call *call, const Google__Protobuf__Empty *request)
{
    open(call);
    if (chance(80))
        waymark_testing_v1_echo_service_nothing_reply(call, request);
    else
        service_of(call)->elsewhere.post(
            [call, request] { waymark_testing_v1_echo_service_nothing_reply(call, request); });
}

void fail_request(rpc_call *call, const Waymark__Testing__V1__FailRequest *request)
{
    (void)request;
    open(call);
    fail(call);
}

// A stream's one answer, on its loop.
void stream_end(rpc_call *call, bool finish)
{
    State *state = state_of(call);
    if (state->is_answered)
        return;
    state->is_answered = true;
    if (finish && rpc_method(call)->server_streaming)
        rpc_finish(call);
    else
        fail(call);
}

void stream_cancelled(rpc_call *call)
{
    service_of(call)->counts.cancelled++;
    stream_end(call, chance(50));
}

void repeat_pump(rpc_call *call)
{
    State *state = state_of(call);
    static uint8_t bytes[80 * 1024];
    Waymark__Testing__V1__RepeatResponse message = WAYMARK__TESTING__V1__REPEAT_RESPONSE__INIT;
    message.payload.data = bytes;
    while (!state->is_answered) {
        if (state->left == 0 || chance(1)) {
            if (chance(90))
                stream_end(call, chance(80));
            else
                state->plan = Plan::kStuck; // until it is cancelled
            return;
        }
        message.number = state->left;
        // Now and then more than a message may hold, which aborts the stream.
        message.payload.len = chance(1) && chance(10) ? sizeof(bytes) : state->size;
        if (!waymark_testing_v1_echo_service_repeat_send(call, &message))
            return;
        state->left--;
        if (rpc_is_cancelled(call))
            return;
    }
}

void repeat_request(rpc_call *call, const Waymark__Testing__V1__RepeatRequest *request)
{
    State *state = open(call);
    state->left = request->count;
    state->size = below(chance(20) ? 60000 : 200);
    repeat_pump(call);
}

void repeat_writable(rpc_call *call)
{
    if (state_of(call)->plan != Plan::kStuck)
        repeat_pump(call);
}

void sum_opened(rpc_call *call)
{
    open(call);
    if (chance(95))
        rpc_read(call); // else it never reads
}

void sum_answer(rpc_call *call)
{
    State *state = state_of(call);
    Waymark__Testing__V1__SumResponse response = WAYMARK__TESTING__V1__SUM_RESPONSE__INIT;
    response.sum = state->sum;
    response.count = state->count;
    state->is_answered = true;
    waymark_testing_v1_echo_service_sum_reply(call, &response);
}

void sum_message(rpc_call *call, const Waymark__Testing__V1__SumRequest *message)
{
    State *state = state_of(call);
    state->sum += message->number;
    state->count++;
    if (chance(2))
        sum_answer(call);
    else if (chance(98))
        rpc_read(call);
}

void sum_half_closed(rpc_call *call)
{
    if (chance(95))
        sum_answer(call);
    else
        stream_end(call, false);
}

void talk_opened(rpc_call *call)
{
    open(call);
    rpc_read(call);
}

void talk_message(rpc_call *call, const Waymark__Testing__V1__TalkRequest *message)
{
    Waymark__Testing__V1__TalkResponse answer = WAYMARK__TESTING__V1__TALK_RESPONSE__INIT;
    answer.number = message->number;
    answer.payload = message->payload;
    if (chance(3)) {
        stream_end(call, chance(70));
        return;
    }
    if (!rpc_is_writable(call)) // it reads ahead of its answers now and then
        return;
    if (!waymark_testing_v1_echo_service_talk_send(call, &answer))
        die("a writable stream refused a message");
    if (chance(30))
        rpc_read(call);
}

void talk_writable(rpc_call *call)
{
    if (!state_of(call)->is_answered)
        rpc_read(call);
}

void talk_half_closed(rpc_call *call)
{
    stream_end(call, chance(90));
}

waymark_testing_v1_echo_service_handlers handlers_make()
{
    waymark_testing_v1_echo_service_handlers all = {};
    all.echo.request = echo_request;
    all.echo.cancelled = echo_cancelled;
    all.echo.ended = any_ended;
    all.nothing.flags = RPC_INLINE;
    all.nothing.request = nothing_request;
    all.nothing.ended = any_ended;
    all.repeat.request = repeat_request;
    all.repeat.writable = repeat_writable;
    all.repeat.cancelled = stream_cancelled;
    all.repeat.ended = any_ended;
    all.sum.opened = sum_opened;
    all.sum.message = sum_message;
    all.sum.half_closed = sum_half_closed;
    all.sum.cancelled = stream_cancelled;
    all.sum.ended = any_ended;
    all.talk.flags = RPC_MAY_BE_EMPTY;
    all.talk.opened = talk_opened;
    all.talk.message = talk_message;
    all.talk.half_closed = talk_half_closed;
    all.talk.writable = talk_writable;
    all.talk.cancelled = stream_cancelled;
    all.talk.ended = any_ended;
    all.fail.request = fail_request;
    all.fail.ended = any_ended;
    return all;
}

const waymark_testing_v1_echo_service_handlers handlers = handlers_make();

// ---- an interceptor that answers here, on the loop, or elsewhere ----

void answer(rpc_call *call)
{
    wm_err err = {};
    if (!chance(5)) {
        rpc_next(call);
        return;
    }
    (void)wm_fail(&err, WM_UNAUTHENTICATED, "CHAOS", "refused");
    rpc_fail(call, &err);
}

struct Later {
    lane_msg msg;
    rpc_call *call;
};

void decide(rpc_interceptor *self, rpc_call *call)
{
    if (chance(80)) {
        answer(call);
    } else if (chance(50)) {
        static_cast<Service *>(self->self)->elsewhere.post([call] { answer(call); });
    } else {
        auto *later = static_cast<Later *>(wm_arena_alloc(rpc_arena(call), sizeof(Later)));
        later->call = call;
        later->msg.run = [](lane_msg *msg) { answer(wm_container_of(msg, Later, msg)->call); };
        lane_post(rpc_lane(call), &later->msg);
    }
}

void on_requested(rpc_interceptor *self, rpc_call *call, const ProtobufCMessage *request)
{
    (void)request;
    decide(self, call);
}

void on_checked(rpc_interceptor *self, rpc_call *call)
{
    wm_err err = {};
    if (!chance(2))
        return;
    static_cast<Service *>(self->self)->counts.aborted++;
    (void)wm_fail(&err, chance(50) ? WM_DENIED : WM_UNAVAILABLE, "CHAOS", "aborted");
    rpc_abort(call, &err);
}

void on_finished(rpc_interceptor *self, rpc_call *call, wm_code code, int64_t duration_us)
{
    (void)call;
    (void)code;
    (void)duration_us;
    static_cast<Service *>(self->self)->counts.finished++;
}

} // namespace

// ---- the server ----

bool Service::start(const std::string &address)
{
    static const rpc_limit limits[] = {{"waymark.testing.v1.EchoService/Echo", 20, 20, 20},
                                       {"waymark.testing.v1.EchoService/Talk", 30, 0, 0}};
    static const char *const compressed[] = {"waymark.testing.v1.EchoService/Repeat"};
    rpc_listener listener = {};
    rpc_config config = {};
    wm_err err = {};

    storage_.assign(WAYMARK_TESTING_V1_ECHO_SERVICE_HANDLERS_N, rpc_handler{});
    rpc_service service = waymark_testing_v1_echo_service_bind(&handlers, storage_.data(), this);
    interceptor_ = {"chaos", this, decide, on_requested, on_checked, on_finished};
    rpc_interceptor *chain[] = {&interceptor_};
    listener.address = address.c_str();
    config.lanes = lanes_.data();
    config.n_lanes = lanes_.size();
    config.listeners = &listener;
    config.n_listeners = 1;
    config.services = &service;
    config.n_services = 1;
    config.interceptors = chain;
    config.n_interceptors = 1;
    config.message_size_max = 64 * 1024;
    config.calls_max = 200;
    config.limits = limits;
    config.n_limits = WM_ARRAY_LEN(limits);
    config.compressed = compressed;
    config.n_compressed = 1;
    config.connection.age_max_ms = 1000;
    config.connection.age_grace_ms = 200;
    if (rpc_server_start(&config, &server_, &err) != WM_OK) {
        server_ = nullptr;
        return false;
    }
    port_ = rpc_server_port(server_, 0);
    rpc_server_set_serving(server_, true);
    return true;
}

void Service::stop(uint64_t grace_ms)
{
    if (server_ == nullptr)
        return;
    rpc_server_drain(server_, grace_ms);
    rpc_server_free(server_);
    server_ = nullptr;
    if (counts.opened != counts.ended) {
        fprintf(stderr, "opened %llu, ended %llu\n", static_cast<unsigned long long>(counts.opened),
                static_cast<unsigned long long>(counts.ended));
        die("a call was opened and has not ended");
    }
}

} // namespace chaos
