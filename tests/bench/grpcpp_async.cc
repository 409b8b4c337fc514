/* tests/bench/grpcpp_async.cc - what grpc++ does with the same core: the peer of `./dev bench
 * grpcpp`.
 *
 *   grpcpp_async --port PORT [--slots N] [--arg NAME INTEGER]...
 *
 * grpc.testing.TestService/EmptyCall and UnaryCall on the completion queue interface, the way that
 * grpc's own benchmarks write it: one thread, some calls that wait for requests, each a small state
 * machine that is used again. It says "serving on port N" and stops on SIGTERM or SIGINT.
 */
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <grpcpp/grpcpp.h>

#include "grpc/testing/test.grpc.pb.h"

namespace {

using grpc::ServerAsyncResponseWriter;
using grpc::ServerCompletionQueue;
using grpc::ServerContext;
using grpc::Status;
using Service = grpc::testing::TestService::AsyncService;

constexpr int SLOTS_DEFAULT = 16; /* as ours has */

/* Something that waits for an event of the queue. */
class Waiter {
  public:
    virtual ~Waiter() = default;
    virtual void proceed(bool ok) = 0;
};

/* One call at a time: WAITING for a request, then FINISHING its answer, then WAITING again. */
template <class Request, class Response> class Call : public Waiter {
  public:
    using Ask = void (Service::*)(ServerContext *, Request *, ServerAsyncResponseWriter<Response> *,
                                  grpc::CompletionQueue *, ServerCompletionQueue *, void *);
    using Handle = void (*)(const Request &, Response *);

    Call(Service *service, ServerCompletionQueue *queue, Ask ask, Handle handle)
        : service_(service), queue_(queue), ask_(ask), handle_(handle)
    {
        wait();
    }

    void proceed(bool ok) override
    {
        if (state_ == State::Finishing) {
            wait();
            return;
        }
        if (!ok) /* the server stops */
            return;
        handle_(request_, &response_);
        state_ = State::Finishing;
        writer_->Finish(response_, Status::OK, this);
    }

  private:
    enum class State { Waiting, Finishing };

    void wait()
    {
        state_ = State::Waiting;
        /* The writer first: it refers to the context. */
        writer_.reset();
        context_ = std::make_unique<ServerContext>();
        writer_ = std::make_unique<ServerAsyncResponseWriter<Response>>(context_.get());
        request_.Clear();
        response_.Clear();
        (service_->*ask_)(context_.get(), &request_, writer_.get(), queue_, queue_, this);
    }

    Service *service_;
    ServerCompletionQueue *queue_;
    Ask ask_;
    Handle handle_;
    State state_ = State::Waiting;
    std::unique_ptr<ServerContext> context_;
    std::unique_ptr<ServerAsyncResponseWriter<Response>> writer_;
    Request request_;
    Response response_;
};

void handle_empty(const grpc::testing::Empty &, grpc::testing::Empty *)
{
}

void handle_unary(const grpc::testing::SimpleRequest &request,
                  grpc::testing::SimpleResponse *response)
{
    if (request.response_size() > 0)
        response->mutable_payload()->mutable_body()->assign(
            static_cast<size_t>(request.response_size()), '\0');
}

void serve(ServerCompletionQueue *queue)
{
    void *tag;
    bool ok;

    while (queue->Next(&tag, &ok))
        static_cast<Waiter *>(tag)->proceed(ok);
}

int usage(const char *program)
{
    std::fprintf(stderr, "usage: %s --port PORT [--slots N] [--arg NAME INTEGER]...\n", program);
    return 2;
}

} // namespace

int main(int argc, char **argv)
{
    int port = -1, slots = SLOTS_DEFAULT, number;
    sigset_t stop;
    grpc::ServerBuilder builder;

    for (int i = 1; i < argc; i++) {
        if (std::strcmp(argv[i], "--port") == 0 && i + 1 < argc) {
            port = std::atoi(argv[++i]);
        } else if (std::strcmp(argv[i], "--slots") == 0 && i + 1 < argc) {
            slots = std::atoi(argv[++i]);
        } else if (std::strcmp(argv[i], "--arg") == 0 && i + 2 < argc) {
            builder.AddChannelArgument(argv[i + 1], std::atoi(argv[i + 2])); /* of the core */
            i += 2;
        } else {
            return usage(argv[0]);
        }
    }
    if (port < 0 || slots < 1)
        return usage(argv[0]);
    sigemptyset(&stop);
    sigaddset(&stop, SIGINT);
    sigaddset(&stop, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &stop, nullptr);

    Service service;
    builder.AddListeningPort("127.0.0.1:" + std::to_string(port), grpc::InsecureServerCredentials(),
                             &port);
    builder.RegisterService(&service);
    std::unique_ptr<ServerCompletionQueue> queue = builder.AddCompletionQueue();
    std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
    if (server == nullptr)
        return 1;
    using EmptyCall = Call<grpc::testing::Empty, grpc::testing::Empty>;
    using UnaryCall = Call<grpc::testing::SimpleRequest, grpc::testing::SimpleResponse>;
    std::vector<std::unique_ptr<Waiter>> calls;
    for (int i = 0; i < slots; i++) {
        calls.push_back(std::make_unique<EmptyCall>(&service, queue.get(),
                                                    &Service::RequestEmptyCall, handle_empty));
        calls.push_back(std::make_unique<UnaryCall>(&service, queue.get(),
                                                    &Service::RequestUnaryCall, handle_unary));
    }
    std::thread thread(serve, queue.get());
    std::printf("serving on port %d\n", port);
    std::fflush(stdout);
    sigwait(&stop, &number);
    server->Shutdown(std::chrono::system_clock::now());
    queue->Shutdown();
    thread.join();
    return 0;
}
