// The cache of verified tokens: finds what was put, never what has expired, never grows.
#include "server/auth/cache.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <thread>
#include <vector>

namespace {

principal *make(const std::string &subject, int64_t expire_us)
{
    static const char *const groups[] = {"ops", "night"};
    auth_principal parts = {};
    parts.issuer = "https://a.example";
    parts.subject = subject.c_str();
    parts.name = "A";
    parts.client_id = "";
    parts.groups = groups;
    parts.n_groups = 2;
    parts.expire_time_us = expire_us;
    return principal_new(&parts, false);
}

struct Digest {
    uint8_t bytes[PRINCIPAL_DIGEST_SIZE];
    explicit Digest(const std::string &text)
    {
        principal_sha256(text.data(), text.size(), bytes);
    }
};

TEST(Principal, KeepsItsTexts)
{
    principal *who = make("alice#1", 5);
    EXPECT_STREQ("https://a.example#alice#1", who->seen.id);
    EXPECT_STREQ("alice#1", who->seen.subject);
    ASSERT_EQ(2u, who->seen.n_groups);
    EXPECT_STREQ("night", who->seen.groups[1]);
    principal *same = make("alice#1", 9), *other = make("alice#2", 5);
    EXPECT_EQ(0, memcmp(who->digest, same->digest, sizeof(who->digest)));
    EXPECT_NE(0, memcmp(who->digest, other->digest, sizeof(who->digest)));
    principal_release(who);
    principal_release(same);
    principal_release(other);
}

TEST(TokenCache, FindsUntilExpiry)
{
    token_cache *cache = token_cache_new();
    Digest a("a"), b("b");
    principal *who = make("alice", 1000);
    token_cache_put(cache, a.bytes, who);
    principal *found = token_cache_find(cache, a.bytes, 999);
    EXPECT_EQ(who, found);
    principal_release(found);
    EXPECT_EQ(nullptr, token_cache_find(cache, a.bytes, 1000));
    EXPECT_EQ(nullptr, token_cache_find(cache, b.bytes, 0));
    token_cache_put(cache, a.bytes, who); // again: in its own place
    principal_release(who);
    token_cache_free(cache);
}

TEST(TokenCache, StaysBoundedAndServesThreads)
{
    token_cache *cache = token_cache_new();
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; t++)
        threads.emplace_back([cache, t] {
            for (int i = 0; i < 20000; i++) {
                std::string text = std::to_string(i % 9000) + "/" + std::to_string(t % 2);
                Digest digest(text);
                principal *found = token_cache_find(cache, digest.bytes, 0);
                if (!found) {
                    found = make(text, 1000 + i);
                    token_cache_put(cache, digest.bytes, found);
                }
                EXPECT_EQ(text, found->seen.subject);
                principal_release(found);
            }
        });
    for (auto &thread : threads)
        thread.join();
    token_cache_free(cache);
}

} // namespace
