// server/lane.h: messages arrive in order, from every thread, also those sent while the lane ends.
#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "server/lane.h"

namespace {

class Lane : public testing::Test {
  protected:
    void SetUp() override
    {
        wm_err err;
        ASSERT_EQ(lane_new(3, &lane_, &err), WM_OK) << err.message;
    }
    void TearDown() override
    {
        lane_free(lane_);
    }
    void free_now()
    {
        lane_free(lane_);
        lane_ = nullptr;
    }
    lane *lane_ = nullptr;
};

struct Numbered {
    lane_msg msg;
    int sender, number;
    std::vector<std::vector<int>> *seen;
};

void note(lane_msg *msg)
{
    Numbered *numbered = wm_container_of(msg, Numbered, msg);
    (*numbered->seen)[numbered->sender].push_back(numbered->number);
}

TEST_F(Lane, KeepsTheOrderOfEachSender)
{
    const int senders = 4, count = 20000;
    std::vector<std::vector<int>> seen(senders);
    std::vector<std::vector<Numbered>> messages(senders);
    std::vector<std::thread> threads;

    for (int s = 0; s < senders; s++)
        for (int i = 0; i < count; i++)
            messages[s].push_back({{nullptr, note}, s, i, &seen});
    for (int s = 0; s < senders; s++)
        threads.emplace_back([&, s] {
            for (auto &message : messages[s])
                lane_post(lane_, &message.msg);
        });
    for (auto &thread : threads)
        thread.join();
    free_now(); // runs what was posted before

    for (int s = 0; s < senders; s++) {
        ASSERT_EQ(seen[s].size(), size_t(count));
        for (int i = 0; i < count; i++)
            ASSERT_EQ(seen[s][i], i);
    }
}

TEST_F(Lane, KnowsItsOwnThread)
{
    struct Where {
        lane *the_lane;
        bool is_here;
    } where = {lane_, false};

    EXPECT_FALSE(lane_is_here(lane_));
    lane_call(
        lane_,
        [](void *ctx) {
            Where *asked = static_cast<Where *>(ctx);
            asked->is_here = lane_is_here(asked->the_lane);
        },
        &where);
    EXPECT_TRUE(where.is_here);
    EXPECT_EQ(lane_index(lane_), 3u);
}

struct Chain {
    lane_msg msg;
    lane *the_lane;
    int left;
};

void chain_run(lane_msg *msg)
{
    Chain *chain = wm_container_of(msg, Chain, msg);
    if (--chain->left > 0)
        lane_post(chain->the_lane, &chain->msg);
}

TEST_F(Lane, AMessageMayPostItselfAgain)
{
    Chain chain = {{nullptr, chain_run}, lane_, 1000};

    lane_post(lane_, &chain.msg);
    free_now();
    EXPECT_EQ(chain.left, 0);
}

struct Suicide {
    lane_msg msg;
    std::atomic<int> *runs;
};

TEST_F(Lane, AMessageMayFreeItself)
{
    std::atomic<int> runs{0};

    for (int i = 0; i < 1000; i++) {
        Suicide *message = new Suicide{{nullptr,
                                        [](lane_msg *msg) {
                                            Suicide *self = wm_container_of(msg, Suicide, msg);
                                            (*self->runs)++;
                                            delete self;
                                        }},
                                       &runs};
        lane_post(lane_, &message->msg);
    }
    free_now();
    EXPECT_EQ(runs, 1000);
}

struct Job {
    lane_job job;
    lane *the_lane;
    bool ran_elsewhere, done_here;
};

TEST_F(Lane, WorkRunsElsewhereAndIsDoneOnTheLoop)
{
    Job job = {};

    job.the_lane = lane_;
    job.job.run = [](lane_job *work) {
        Job *self = wm_container_of(work, Job, job);
        self->ran_elsewhere = !lane_is_here(self->the_lane);
    };
    job.job.done = [](lane_job *work) {
        Job *self = wm_container_of(work, Job, job);
        self->done_here = lane_is_here(self->the_lane);
    };
    lane_call(
        lane_,
        [](void *ctx) {
            Job *self = static_cast<Job *>(ctx);
            lane_work(self->the_lane, &self->job);
        },
        &job);
    free_now(); // waits for the work
    EXPECT_TRUE(job.ran_elsewhere);
    EXPECT_TRUE(job.done_here);
}

} // namespace
