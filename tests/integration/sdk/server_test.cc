// libwaymark-server by its public header and public stubs, asked by the C client.
#include <gtest/gtest.h>
#include <unistd.h>
#include <waymark/waymark.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "testing.client.h"
#include "tests/integration/sdk/service.h"

namespace {

// Programs have compiled these; new members take the place of reserved ones.
#if defined(__x86_64__)
static_assert(sizeof(waymark_handler) == 96, "changed for programs that are there");
static_assert(sizeof(waymark_service) == 56, "changed for programs that are there");
static_assert(sizeof(waymark_listener) == 48, "changed for programs that are there");
static_assert(sizeof(waymark_server_interceptor) == 40, "changed for programs that are there");
static_assert(sizeof(waymark_server_options) == 176, "changed for programs that are there");
#endif

using EchoRequest = Waymark__Testing__V1__EchoRequest;

bool Eventually(const std::function<bool()> &holds, int ms = 10000)
{
    for (int i = 0; i < ms && !holds(); i++)
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    return holds();
}

class ServerTest : public testing::Test {
  protected:
    void SetUp() override
    {
        dir_ = "/tmp/wmsrvXXXXXX";
        ASSERT_NE(mkdtemp(dir_.data()), nullptr);
        address_ = "unix:" + dir_ + "/s";
        waymark_listener listeners[2] = {};
        listeners[0].address = address_.c_str();
        listeners[1].address = "127.0.0.1:0";
        waymark_problem problem = {};
        server_ = service_start(listeners, 2, 2, &problem);
        ASSERT_NE(server_, nullptr) << problem.message;
        client_ = NewClient(address_);
    }

    void TearDown() override
    {
        waymark_server_stop(server_, 5000);
        waymark_client_free(client_);
        std::remove((dir_ + "/s").c_str());
        rmdir(dir_.c_str());
    }

    static waymark_client *NewClient(const std::string &address)
    {
        waymark_client_options options = {};
        options.address = address.c_str();
        options.own_connection = true;
        waymark_client *client = waymark_client_new(&options, nullptr);
        EXPECT_NE(client, nullptr);
        return client;
    }

    static waymark_code Echo(waymark_client *client, int64_t number, int delay_ms,
                             const waymark_call_options *options = nullptr)
    {
        EchoRequest request = WAYMARK__TESTING__V1__ECHO_REQUEST__INIT;
        waymark_reply *reply;
        request.number = number;
        request.delay_ms = delay_ms;
        const Waymark__Testing__V1__EchoResponse *response =
            waymark_testing_v1_echo_service_echo_sync(client, &request, options, &reply);
        if (response != nullptr) {
            EXPECT_EQ(response->number, number);
        }
        waymark_code code = waymark_reply_status(reply)->code;
        waymark_reply_free(reply);
        return code;
    }

    std::string dir_, address_;
    waymark_server *server_ = nullptr;
    waymark_client *client_ = nullptr;
};

TEST_F(ServerTest, AnswersAtOnceAndLater)
{
    EXPECT_EQ(Echo(client_, 1, 0), WAYMARK_OK);
    EXPECT_EQ(Echo(client_, 2, 5), WAYMARK_OK);  // by a timer
    EXPECT_EQ(Echo(client_, 3, 5), WAYMARK_OK);  // by work that blocks
    EXPECT_EQ(Echo(client_, -4, 5), WAYMARK_OK); // by a thread of its own
}

TEST_F(ServerTest, ListensOnEveryAddress)
{
    EXPECT_EQ(waymark_server_port(server_, 0), 0);
    int port = waymark_server_port(server_, 1);
    ASSERT_GT(port, 0);
    waymark_client *client = NewClient("127.0.0.1:" + std::to_string(port));
    EXPECT_EQ(Echo(client, 1, 0), WAYMARK_OK);
    waymark_client_free(client);
}

TEST_F(ServerTest, AnswersManyAtOnceOnAllItsLoops)
{
    std::vector<std::thread> threads;
    for (int i = 0; i < 8; i++)
        threads.emplace_back([&, i] {
            waymark_client *client = NewClient(address_);
            for (int k = 0; k < 30; k++)
                EXPECT_EQ(Echo(client, k % 3 == 0 ? -k - 1 : k, (i + k) % 4), WAYMARK_OK);
            waymark_client_free(client);
        });
    for (std::thread &thread : threads)
        thread.join();
}

TEST_F(ServerTest, SaysWhyACallFailed)
{
    Waymark__Testing__V1__FailRequest request = WAYMARK__TESTING__V1__FAIL_REQUEST__INIT;
    waymark_reply *reply;
    request.code = WAYMARK_NOT_FOUND;
    request.reason = const_cast<char *>("THING_NOT_FOUND");
    waymark_testing_v1_echo_service_fail_sync(client_, &request, nullptr, &reply);
    const waymark_status *status = waymark_reply_status(reply);
    EXPECT_EQ(status->code, WAYMARK_NOT_FOUND);
    EXPECT_STREQ(status->reason, "THING_NOT_FOUND");
    EXPECT_STREQ(status->domain, "echo.example");
    EXPECT_STREQ(status->message, "left 1");
    EXPECT_EQ(status->n_violations, 0u);
    waymark_reply_free(reply);

    request.field = const_cast<char *>("things[3].name");
    waymark_testing_v1_echo_service_fail_sync(client_, &request, nullptr, &reply);
    status = waymark_reply_status(reply);
    EXPECT_EQ(status->code, WAYMARK_INVALID_ARGUMENT);
    ASSERT_EQ(status->n_violations, 1u);
    EXPECT_STREQ(status->violations[0].field, "things[3].name");
    waymark_reply_free(reply);

    // Cut between characters, or clients could not read the status.
    for (size_t n : {90, 91, 300, 301}) {
        std::string field = std::string(n, 'a');
        for (int i = 0; i < 40; i++)
            field += "\xc3\xa9";
        request.field = const_cast<char *>(field.c_str());
        waymark_testing_v1_echo_service_fail_sync(client_, &request, nullptr, &reply);
        status = waymark_reply_status(reply);
        EXPECT_STREQ(status->reason, "THING_NOT_FOUND");
        waymark_reply_free(reply);
    }

    request.field = const_cast<char *>("");
    request.code = WAYMARK_RESOURCE_EXHAUSTED;
    request.retry_after_ms = 60000; // longer than the client waits by itself
    waymark_testing_v1_echo_service_fail_sync(client_, &request, nullptr, &reply);
    status = waymark_reply_status(reply);
    EXPECT_EQ(status->code, WAYMARK_RESOURCE_EXHAUSTED);
    EXPECT_EQ(status->retry_delay_ms, 60000);
    waymark_reply_free(reply);

    // OK is no failure, and 99 no code.
    request.retry_after_ms = 0;
    for (int code : {0, 99}) {
        request.code = code;
        waymark_testing_v1_echo_service_fail_sync(client_, &request, nullptr, &reply);
        EXPECT_EQ(waymark_reply_status(reply)->code, WAYMARK_UNKNOWN);
        waymark_reply_free(reply);
    }
}

// More than a client may have in the call's memory.
TEST_F(ServerTest, GivesAHandlerWhatItAllocates)
{
    waymark_metadata wish = {"to-take", "100000000", 9};
    waymark_call_options options = {};
    options.metadata = &wish;
    options.n_metadata = 1;
    EXPECT_EQ(Echo(client_, 1, 0, &options), WAYMARK_OK);
}

TEST_F(ServerTest, AnswersUnimplementedWithoutAHandler)
{
    EchoRequest request = WAYMARK__TESTING__V1__ECHO_REQUEST__INIT;
    waymark_reply *reply;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
    waymark_testing_v1_echo_service_retire_sync(client_, &request, nullptr, &reply);
#pragma GCC diagnostic pop
    EXPECT_EQ(waymark_reply_status(reply)->code, WAYMARK_UNIMPLEMENTED);
    waymark_reply_free(reply);
}

TEST_F(ServerTest, CarriesMetadataBothWays)
{
    const char value[] = {'a', '\0', '\xff'};
    waymark_metadata sent = {"to-return-bin", value, sizeof(value)};
    waymark_call_options options = {};
    options.metadata = &sent;
    options.n_metadata = 1;
    options.want_metadata = true;
    EchoRequest request = WAYMARK__TESTING__V1__ECHO_REQUEST__INIT;
    waymark_reply *reply;
    waymark_testing_v1_echo_service_echo_sync(client_, &request, &options, &reply);
    const waymark_status *status = waymark_reply_status(reply);
    int seen = 0;
    for (size_t i = 0; i < status->n_metadata; i++) {
        std::string key = status->metadata[i].key;
        if (key == "first-bin" || key == "last-bin") {
            seen++;
            EXPECT_EQ(std::string(status->metadata[i].value, status->metadata[i].size),
                      std::string(value, sizeof(value)));
        }
    }
    EXPECT_EQ(seen, 2);
    waymark_reply_free(reply);
}

TEST_F(ServerTest, InterceptorsRefuseAndCount)
{
    waymark_metadata wish = {"refuse", "me", 2};
    waymark_call_options options = {};
    options.metadata = &wish;
    options.n_metadata = 1;
    unsigned before = service_finished();
    EXPECT_EQ(Echo(client_, 1, 0, &options), WAYMARK_PERMISSION_DENIED);
    EXPECT_EQ(Echo(client_, 1, 0), WAYMARK_OK);
    EXPECT_TRUE(Eventually([&] { return service_finished() >= before + 2; }));
}

TEST_F(ServerTest, StreamsInOrderWithFlowControl)
{
    Waymark__Testing__V1__RepeatRequest request = WAYMARK__TESTING__V1__REPEAT_REQUEST__INIT;
    request.count = 5000;
    waymark_stream *stream =
        waymark_testing_v1_echo_service_repeat_open(client_, &request, nullptr, nullptr, nullptr);
    int64_t n = 0;
    while (const auto *message = waymark_testing_v1_echo_service_repeat_read_sync(stream))
        ASSERT_EQ(message->number, ++n);
    EXPECT_EQ(n, request.count);
    EXPECT_EQ(waymark_stream_status(stream)->code, WAYMARK_OK);
    waymark_stream_free(stream);
}

TEST_F(ServerTest, TakesClientStreamsAlsoEmptyOnes)
{
    for (int64_t count : {0, 1, 100}) {
        waymark_stream *stream =
            waymark_testing_v1_echo_service_sum_open(client_, nullptr, nullptr, nullptr);
        for (int64_t i = 1; i <= count; i++) {
            Waymark__Testing__V1__SumRequest message = WAYMARK__TESTING__V1__SUM_REQUEST__INIT;
            message.number = i;
            EXPECT_TRUE(waymark_testing_v1_echo_service_sum_write_sync(stream, &message));
        }
        const auto *response = waymark_testing_v1_echo_service_sum_finish_sync(stream);
        ASSERT_NE(response, nullptr) << waymark_stream_status(stream)->message;
        EXPECT_EQ(response->count, count);
        EXPECT_EQ(response->sum, count * (count + 1) / 2);
        waymark_stream_free(stream);
    }
}

TEST_F(ServerTest, TalksBothWays)
{
    waymark_stream *stream =
        waymark_testing_v1_echo_service_talk_open(client_, nullptr, nullptr, nullptr);
    for (int64_t i = 1; i <= 50; i++) {
        Waymark__Testing__V1__TalkRequest message = WAYMARK__TESTING__V1__TALK_REQUEST__INIT;
        message.number = i;
        ASSERT_TRUE(waymark_testing_v1_echo_service_talk_write_sync(stream, &message));
        const auto *answer = waymark_testing_v1_echo_service_talk_read_sync(stream);
        ASSERT_NE(answer, nullptr);
        EXPECT_EQ(answer->number, i);
    }
    waymark_stream_close(stream);
    EXPECT_EQ(waymark_testing_v1_echo_service_talk_read_sync(stream), nullptr);
    EXPECT_EQ(waymark_stream_status(stream)->code, WAYMARK_OK);
    waymark_stream_free(stream);
}

TEST_F(ServerTest, TellsHandlersThatTheClientHasGone)
{
    unsigned seen = service_seen(), cancelled = service_cancelled(), ended = service_ended();
    EchoRequest echo = WAYMARK__TESTING__V1__ECHO_REQUEST__INIT;
    waymark_call_options options = {};
    waymark_call *call = nullptr;
    echo.number = 2;
    echo.delay_ms = 200;
    options.call = &call;
    waymark_testing_v1_echo_service_echo(
        client_, &echo, &options,
        [](void *, const waymark_status *status, const Waymark__Testing__V1__EchoResponse *) {
            EXPECT_EQ(status->code, WAYMARK_CANCELLED);
        },
        nullptr);
    ASSERT_TRUE(Eventually([&] { return service_seen() > seen; }));
    waymark_call_cancel(call);
    waymark_call_free(call);

    Waymark__Testing__V1__RepeatRequest request = WAYMARK__TESTING__V1__REPEAT_REQUEST__INIT;
    waymark_stream *stream =
        waymark_testing_v1_echo_service_repeat_open(client_, &request, nullptr, nullptr, nullptr);
    EXPECT_NE(waymark_testing_v1_echo_service_repeat_read_sync(stream), nullptr);
    waymark_stream_free(stream);
    EXPECT_TRUE(Eventually([&] { return service_cancelled() == cancelled + 2; }));
    EXPECT_TRUE(Eventually([&] { return service_ended() == ended + 2; }));
}

TEST_F(ServerTest, StopsWithCallsThatWait)
{
    unsigned ended = service_ended();
    waymark_stream *talk =
        waymark_testing_v1_echo_service_talk_open(client_, nullptr, nullptr, nullptr);
    Waymark__Testing__V1__TalkRequest message = WAYMARK__TESTING__V1__TALK_REQUEST__INIT;
    ASSERT_TRUE(waymark_testing_v1_echo_service_talk_write_sync(talk, &message));
    ASSERT_NE(waymark_testing_v1_echo_service_talk_read_sync(talk), nullptr);
    std::thread waiting([&] { Echo(client_, 2, 50); });
    waymark_server_stop(server_, 2000);
    server_ = nullptr;
    waiting.join();
    EXPECT_GE(service_ended(), ended + 1);
    EXPECT_EQ(waymark_testing_v1_echo_service_talk_read_sync(talk), nullptr);
    EXPECT_NE(waymark_stream_status(talk)->code, WAYMARK_OK);
    waymark_stream_free(talk);
}

TEST(ServerStart, SaysWhatIsWrong)
{
    waymark_listener listener = {};
    waymark_problem problem = {};
    listener.address = "192.0.2.1:1";
    EXPECT_EQ(service_start(&listener, 1, 1, &problem), nullptr);
    EXPECT_NE(problem.code, WAYMARK_OK);
    EXPECT_NE(std::string(problem.message), "");

    listener.address = "127.0.0.1:0";
    listener.cert_file = listener.key_file = "/nonexistent/cert.pem";
    EXPECT_EQ(service_start(&listener, 1, 1, &problem), nullptr);
    EXPECT_NE(std::string(problem.message).find("/nonexistent/cert.pem"), std::string::npos)
        << problem.message;
    listener.cert_file = listener.key_file = nullptr;
    EXPECT_EQ(service_start(&listener, 1, 1000, &problem), nullptr);
    EXPECT_EQ(service_start(&listener, 1, 1000, nullptr), nullptr);
}

// One authority, which signs the server and a client, and a client that comes without.
TEST(ServerTls, AsksForCertificates)
{
    std::string dir = "/tmp/wmsrvtlsXXXXXX";
    ASSERT_NE(mkdtemp(dir.data()), nullptr);
    std::string key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes ";
    std::string commands = "set -e; cd " + dir + "; exec 2>log; openssl req -x509 " + key +
                           "-days 2 -subj /CN=authority -keyout ca.key -out ca.pem; "
                           "for name in server client; do openssl req " +
                           key +
                           "-subj /CN=$name -addext subjectAltName=DNS:hello.test "
                           "-keyout $name.key -out $name.csr; openssl x509 -req -days 2 "
                           "-in $name.csr -copy_extensions copy -CA ca.pem -CAkey ca.key "
                           "-CAcreateserial -out $name.pem; done";
    ASSERT_EQ(std::system(commands.c_str()), 0);
    std::string ca = dir + "/ca.pem", cert = dir + "/server.pem", server_key = dir + "/server.key";
    std::string client_cert = dir + "/client.pem", client_key = dir + "/client.key";

    waymark_listener listener = {};
    waymark_problem problem = {};
    listener.address = "127.0.0.1:0";
    listener.cert_file = cert.c_str();
    listener.key_file = server_key.c_str();
    listener.client_ca_file = ca.c_str();
    waymark_server *server = service_start(&listener, 1, 1, &problem);
    ASSERT_NE(server, nullptr) << problem.message;

    std::string address = "127.0.0.1:" + std::to_string(waymark_server_port(server, 0));
    for (bool known : {true, false}) {
        waymark_client_options options = {};
        options.address = address.c_str();
        options.tls = true;
        options.ca_file = ca.c_str();
        options.tls_name = "hello.test";
        options.cert_file = known ? client_cert.c_str() : nullptr;
        options.key_file = known ? client_key.c_str() : nullptr;
        waymark_client *client = waymark_client_new(&options, &problem);
        ASSERT_NE(client, nullptr) << problem.message;
        Google__Protobuf__Empty request = GOOGLE__PROTOBUF__EMPTY__INIT;
        waymark_reply *reply;
        waymark_testing_v1_echo_service_nothing_sync(client, &request, nullptr, &reply);
        EXPECT_EQ(waymark_reply_status(reply)->code, known ? WAYMARK_OK : WAYMARK_UNAVAILABLE);
        waymark_reply_free(reply);
        waymark_client_free(client);
    }
    waymark_server_stop(server, 1000);
    EXPECT_EQ(std::system(("rm -rf " + dir).c_str()), 0);
}

} // namespace
