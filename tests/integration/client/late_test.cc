// A suspension's holder is held up before each of its locks while the client goes away.
#include <utility>

#include "tests/integration/client/fixture.h"
#include "tests/integration/client/locks.h"

namespace waymark_test {
namespace {

struct Scene {
    int nth;
    std::atomic<bool> suspend{false}, held_up{false}, over{false}, freed{false};
    waymark_suspension *suspension = nullptr;
    waymark_token_request *request = nullptr;
    int n = 0, refused = 0;

    // As long as the client needs, unless it waits for us.
    void Lock()
    {
        if (++n != nth)
            return;
        held_up = true;
        Eventually([this] { return freed.load(); }, 250);
    }

    void Resume()
    {
        BeforeLocks([this] { Lock(); });
        waymark_suspension_resume(suspension, nullptr, 0);
        refused = RefusedLocks();
        BeforeLocks(nullptr);
        over = true;
    }
};

using LateTest = SdkTest;

// One call asks for the token, a second one is suspended. It is let go on, to wait for the token as
// well; before the n-th lock of that the token is refused, and everything is freed. False: there
// are not so many locks.
bool HeldUpBefore(int nth, const std::string &address)
{
    Scene scene;
    scene.nth = nth;
    waymark_credentials *credentials = waymark_credentials_callback(
        [](void *ctx, waymark_token_request *request) {
            static_cast<Scene *>(ctx)->request = request;
        },
        &scene);
    waymark_interceptor hook = {};
    hook.ctx = &scene;
    hook.start = [](void *ctx, waymark_context *call) {
        auto *scene = static_cast<Scene *>(ctx);
        if (scene->suspend)
            scene->suspension = waymark_context_suspend(call);
    };
    waymark_client_options options = {};
    options.address = address.c_str();
    options.own_connection = true;
    options.credentials = credentials;
    options.interceptors = &hook;
    options.n_interceptors = 1;
    waymark_client *client = waymark_client_new(&options, nullptr);
    Tally tally;
    StartEcho(client, &tally);
    scene.suspend = true;
    StartEcho(client, &tally);

    std::thread holder([&] { scene.Resume(); });
    EXPECT_TRUE(Eventually([&] { return scene.held_up || scene.over; }));
    waymark_token_fail(std::exchange(scene.request, nullptr), "no");
    waymark_client_free(client);
    waymark_credentials_free(credentials);
    scene.freed = true;
    holder.join();
    if (scene.request != nullptr) // it came so late that it asked again
        waymark_token_fail(scene.request, "no");
    EXPECT_EQ(tally.ended, 2);
    EXPECT_EQ(scene.refused, 0) << "at lock " << nth;
    return scene.held_up;
}

TEST_F(LateTest, AHolderMayBeHeldUpAnywhere)
{
    int nth = 1;
    while (HeldUpBefore(nth, address_))
        nth++;
#ifdef WAYMARK_TESTS_SEE_LOCKS
    EXPECT_GT(nth, 3); // else it has seen none of ours
#endif
}

} // namespace
} // namespace waymark_test
