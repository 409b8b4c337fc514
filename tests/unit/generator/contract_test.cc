// What the contract says of its methods, as data, and what the server does with them, agree.
#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

#include "server/auth/permissions.h"
#include "waymark/auth/v1/auth_service.methods.h"
#include "waymark/geo/v1/fence_service.methods.h"
#include "waymark/geo/v1/track_service.methods.h"
#include "waymark/workflow/v1/chart_service.methods.h"
#include "waymark/workflow/v1/task_service.methods.h"
#include "waymark/workflow/v1/workflow_service.methods.h"

namespace {

std::vector<const wm_method *> Methods()
{
    static const wm_service *const services[] = {
        &waymark_auth_v1_auth_service,     &waymark_geo_v1_fence_service,
        &waymark_geo_v1_track_service,     &waymark_workflow_v1_chart_service,
        &waymark_workflow_v1_task_service, &waymark_workflow_v1_workflow_service,
    };
    std::vector<const wm_method *> methods;
    for (const wm_service *service : services)
        for (size_t i = 0; i < service->n_methods; i++)
            methods.push_back(&service->methods[i]);
    return methods;
}

TEST(Contract, NamesThePermissionsThatAuthAsksFor)
{
    for (const wm_method *method : Methods()) {
        const permission_row *row = permission_find(method->path);
        ASSERT_NE(row, nullptr) << method->path;
        if (row->rule == PERMISSION_OF_ROLE)
            EXPECT_STREQ(method->permission, row->permission->name) << method->path;
        else
            EXPECT_EQ(method->permission, nullptr) << method->path;
    }
}

// A method that auth knows and no service has would be a leftover.
TEST(Contract, HasEveryMethodThatAuthKnows)
{
    size_t n, ours = 0;
    const permission_row *rows = permission_rows(&n);
    for (size_t i = 0; i < n; i++)
        ours += strncmp(rows[i].path, "/waymark.", strlen("/waymark.")) == 0;
    EXPECT_EQ(ours, Methods().size());
}

// What is safe to send twice without asking must not write.
TEST(Contract, MethodsWithoutSideEffectsAreReads)
{
    for (const wm_method *method : Methods()) {
        std::string permission = method->permission ? method->permission : "";
        bool writes =
            permission.size() > 6 && permission.compare(permission.size() - 6, 6, ".write") == 0;
        if (method->idempotency == WM_NO_SIDE_EFFECTS) {
            EXPECT_FALSE(writes) << method->path;
            EXPECT_FALSE(permission_find(method->path)->makes_namespace) << method->path;
        }
    }
}

} // namespace
