// In the child of a fork an old client answers instead of hanging.
#include <sys/wait.h>
#include <waymark/worker.h>

#include "tests/integration/client/fixture.h"
#include "tests/integration/client/locks.h"

namespace waymark_test {
namespace {

// Runs something in a child, which has ten seconds; what it returns is its exit status.
int InChild(const std::function<int()> &run)
{
    pid_t child = fork();
    if (child == 0) {
        alarm(10);
        _exit(run());
    }
    int status = 0;
    EXPECT_EQ(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

// The order of the documentation: fork, then make clients. The first test, before any has used the
// core.
TEST(AForkFirst, ClientsWorkInParentAndChild)
{
    std::string dir = "/tmp/wmfXXXXXX";
    ASSERT_NE(mkdtemp(dir.data()), nullptr);
    std::string address = "unix:" + dir + "/s";
    int ready[2];
    ASSERT_EQ(pipe(ready), 0);
    pid_t child = fork();
    if (child == 0) {
        char byte;
        alarm(20);
        if (read(ready[0], &byte, 1) != 1)
            _exit(1);
        waymark_client_options options = {};
        options.address = address.c_str();
        waymark_client *client = waymark_client_new(&options, nullptr);
        if (client == nullptr)
            _exit(2);
        bool ok = Echo(client).code == WAYMARK_OK;
        waymark_client_free(client);
        _exit(ok ? 0 : 3);
    }
    echo_server *server = echo_server_start(address.c_str());
    ASSERT_EQ(write(ready[1], "x", 1), 1);
    int status = 0;
    EXPECT_EQ(waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
    echo_server_stop(server);
    EXPECT_EQ(std::system(("rm -rf " + dir).c_str()), 0);
    close(ready[0]);
    close(ready[1]);
}

using ForkTest = SdkTest;

TEST_F(ForkTest, CallsOfAnOldClientEndAtOnce)
{
    waymark_client *client = NewClient();
    EXPECT_EQ(Echo(client).code, WAYMARK_OK);
    EXPECT_EQ(InChild([&] {
                  Ended ended = Echo(client);
                  if (ended.code != WAYMARK_FAILED_PRECONDITION || ended.reason != "CLIENT_FORKED")
                      return 1;
                  Tally tally;
                  waymark_call *call = nullptr;
                  waymark_call_options options = {};
                  options.call = &call;
                  StartEcho(client, &tally, options);
                  if (tally.ended != 1 || tally.reason != "CLIENT_FORKED")
                      return 2;
                  waymark_call_cancel(call);
                  waymark_call_free(call);
                  if (waymark_client_wait_ready(client, -1))
                      return 3;
                  waymark_client_free(client);
                  return 0;
              }),
              0);
    EXPECT_EQ(Echo(client).code, WAYMARK_OK); // the parent goes on
}

TEST_F(ForkTest, StreamsAndHandlesOfBeforeAreDead)
{
    Tally tally;
    waymark_client *client = NewClient();
    waymark_stream *stream =
        waymark_testing_v1_echo_service_talk_open(client, nullptr, nullptr, nullptr);
    Waymark__Testing__V1__TalkRequest message = WAYMARK__TESTING__V1__TALK_REQUEST__INIT;
    ASSERT_TRUE(waymark_testing_v1_echo_service_talk_write_sync(stream, &message));
    waymark_call *call = nullptr;
    waymark_call_options options = {};
    options.call = &call;
    StartEcho(client, &tally, options, 60000);
    EXPECT_EQ(InChild([&] {
                  if (waymark_testing_v1_echo_service_talk_write_sync(stream, &message))
                      return 1;
                  if (waymark_testing_v1_echo_service_talk_read_sync(stream) != nullptr)
                      return 2;
                  if (waymark_stream_status(stream)->code != WAYMARK_FAILED_PRECONDITION)
                      return 3;
                  waymark_stream_cancel(stream);
                  waymark_stream_free(stream);
                  waymark_call_cancel(call);
                  waymark_call_free(call);
                  stream =
                      waymark_testing_v1_echo_service_talk_open(client, nullptr, nullptr, nullptr);
                  if (std::string(waymark_stream_status(stream)->reason) != "CLIENT_FORKED")
                      return 4;
                  waymark_stream_free(stream);
                  return 0;
              }),
              0);
    EXPECT_NE(waymark_testing_v1_echo_service_talk_read_sync(stream), nullptr);
    waymark_stream_free(stream);
    waymark_call_cancel(call);
    EXPECT_TRUE(tally.Wait());
    waymark_call_free(call);
}

TEST_F(ForkTest, AWorkerStaysWithItsProcess)
{
    waymark_client *client = NewClient();
    waymark_worker_options options = {};
    options.handle = [](void *, waymark_task *) {};
    waymark_worker *worker = waymark_worker_start(client, &options);
    ASSERT_NE(worker, nullptr);
    EXPECT_EQ(InChild([&] {
                  waymark_worker_stop(worker, 1000);
                  return waymark_worker_start(client, &options) == nullptr ? 0 : 1;
              }),
              0);
    waymark_worker_stop(worker, 1000);
}

// How many locks this takes.
int Locks(const std::function<void()> &run)
{
    int n = 0;
    BeforeLocks([&] { n++; });
    run();
    BeforeLocks(nullptr);
    return n;
}

TEST_F(ForkTest, WhatWasPromisedBeforeTouchesNoLock)
{
    static waymark_token_request *request;
    static std::vector<waymark_suspension *> suspensions;
    waymark_credentials *credentials = waymark_credentials_callback(
        [](void *, waymark_token_request *asked) { request = asked; }, nullptr);
    waymark_interceptor hook = {};
    hook.start = [](void *, waymark_context *call) {
        if (request != nullptr)
            suspensions.push_back(waymark_context_suspend(call));
    };
    waymark_client_options options = {};
    options.credentials = credentials;
    options.interceptors = &hook;
    options.n_interceptors = 1;
    waymark_client *client = NewClient(options);
    Tally tally;
    for (int i = 0; i < 3; i++) // one waits for the token, two for the interceptor
        StartEcho(client, &tally);
    ASSERT_EQ(suspensions.size(), 2u);
    EXPECT_EQ(InChild([&] {
                  if (Locks([] { waymark_token_give(request, "secret", 0); }) != 0)
                      return 1;
                  if (Locks([] { waymark_token_fail(request, "no"); }) != 0)
                      return 2;
                  if (Locks([] { waymark_token_unavailable(request, "later", 0); }) != 0)
                      return 3;
                  if (Locks([] { waymark_suspension_resume(suspensions[0], nullptr, 0); }) != 0)
                      return 4;
                  return Locks([] {
                      waymark_suspension_refuse(suspensions[1], WAYMARK_ABORTED, "NO", "no");
                  });
              }),
              0);
    for (auto *suspension : suspensions) // the parent goes on
        waymark_suspension_resume(suspension, nullptr, 0);
    EXPECT_GT(Locks([] { waymark_token_give(request, "secret", 0); }), 0);
    EXPECT_TRUE(tally.Wait(3));
    EXPECT_EQ(tally.ok, 3);
    waymark_credentials_free(credentials);
}

// And with the server of this process gone as well.
TEST_F(ForkTest, AfterAllAreFreedANewClientWorks)
{
    Free(NewClient());
    StopServer();
    EXPECT_EQ(InChild([&] {
                  waymark_client_options options = {};
                  options.address = address_.c_str();
                  waymark_client *client = waymark_client_new(&options, nullptr);
                  if (client == nullptr)
                      return 1;
                  bool answered = Echo(client).code == WAYMARK_UNAVAILABLE;
                  waymark_client_free(client);
                  return answered ? 0 : 2;
              }),
              0);
}

TEST_F(ForkTest, ANewClientIsRefusedAndSaysWhy)
{
    NewClient();
    EXPECT_EQ(InChild([&] {
                  waymark_client_options options = {};
                  waymark_problem problem = {};
                  options.address = address_.c_str();
                  if (waymark_client_new(&options, &problem) != nullptr)
                      return 1;
                  if (problem.code != WAYMARK_FAILED_PRECONDITION)
                      return 2;
                  return std::string(problem.message).find("CLIENT_FORKED") == 0 ? 0 : 3;
              }),
              0);
}

} // namespace

} // namespace waymark_test
