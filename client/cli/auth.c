/* client/cli/auth.c - who am I, and who may do what: whoami, grant, revoke, grants. */
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <waymark/auth/v1/auth_service.client.h>

#include "client/cli/args.h"
#include "client/cli/cli.h"
#include "client/cli/table.h"

static const struct {
    const char *name;
    Waymark__Auth__V1__Role role;
} auth_roles[] = {
    {"viewer", WAYMARK__AUTH__V1__ROLE__ROLE_VIEWER},
    {"operator", WAYMARK__AUTH__V1__ROLE__ROLE_OPERATOR},
    {"worker", WAYMARK__AUTH__V1__ROLE__ROLE_WORKER},
    {"admin", WAYMARK__AUTH__V1__ROLE__ROLE_ADMIN},
};

static const char *role_name(int role)
{
    for (size_t i = 0; i < WM_ARRAY_LEN(auth_roles); i++) {
        if ((int)auth_roles[i].role == role)
            return auth_roles[i].name;
    }
    return "?";
}

static bool role_read(const char *name, Waymark__Auth__V1__Role *role)
{
    for (size_t i = 0; i < WM_ARRAY_LEN(auth_roles); i++) {
        if (strcasecmp(auth_roles[i].name, name) == 0) {
            *role = auth_roles[i].role;
            return true;
        }
    }
    return false;
}

/* ---- whoami ---- */

static void whoami_print(cli *cli, const Waymark__Auth__V1__WhoAmIResponse *me)
{
    char *roles[16];
    size_t n = me->n_roles < WM_ARRAY_LEN(roles) ? me->n_roles : WM_ARRAY_LEN(roles);

    for (size_t i = 0; i < n; i++)
        roles[i] = (char *)role_name((int)me->roles[i]);
    table_pair("principal", me->principal);
    table_pair("subject", me->subject);
    table_pair("name", me->name);
    table_pair("issuer", me->issuer);
    table_pair("groups", cli_join(cli, me->groups, me->n_groups, ", "));
    table_pair("expires", cli_time(cli, me->expire_time));
    table_pair("namespace", me->namespace_);
    table_pair("roles", me->configured_admin ? "admin (by the server's configuration)"
                                             : cli_join(cli, roles, n, ", "));
    table_pair("permissions", cli_join(cli, me->permissions, me->n_permissions, ", "));
}

static int whoami_run(cli *cli, int argc, char **argv)
{
    Waymark__Auth__V1__WhoAmIRequest request = WAYMARK__AUTH__V1__WHO_AM_IREQUEST__INIT;
    const Waymark__Auth__V1__WhoAmIResponse *response;
    waymark_reply *reply = NULL;
    int code = args_connect(cli, argc, argv, NULL, 0, NULL, 0, 0);

    if (code != ARGS_GO_ON)
        return code;
    request.namespace_ = (char *)cli->namespace_name;
    response = waymark_auth_v1_auth_service_who_am_i_sync(cli->client, &request, NULL, &reply);
    if (response == NULL)
        code = cli_refused(cli, waymark_reply_status(reply));
    else if (cli->json)
        cli_print_message(cli, &response->base);
    else
        whoami_print(cli, response);
    waymark_reply_free(reply);
    return response != NULL ? CLI_OK : code;
}

/* ---- grant ---- */

static void grant_print(cli *cli, const Waymark__Auth__V1__Grant *grant)
{
    bool group = grant->member_case == WAYMARK__AUTH__V1__GRANT__MEMBER_GROUP;

    if (cli->json) {
        cli_print_message(cli, &grant->base);
        return;
    }
    printf("%s is %s %s in %s (grant %s)\n", group ? "group" : "principal",
           group ? grant->group : grant->principal, role_name((int)grant->role), grant->namespace_,
           grant->grant_id);
}

static int grant_send(cli *cli, const Waymark__Auth__V1__GrantRequest *request)
{
    const Waymark__Auth__V1__GrantResponse *response;
    waymark_reply *reply = NULL;
    int code = CLI_OK;

    if (cli_client(cli) == NULL)
        return CLI_USAGE;
    response = waymark_auth_v1_auth_service_grant_sync(cli->client, request, NULL, &reply);
    if (response == NULL)
        code = cli_refused(cli, waymark_reply_status(reply));
    else if (response->grant != NULL)
        grant_print(cli, response->grant);
    waymark_reply_free(reply);
    return code;
}

static int grant_run(cli *cli, int argc, char **argv)
{
    Waymark__Auth__V1__GrantRequest request = WAYMARK__AUTH__V1__GRANT_REQUEST__INIT;
    const char *subject = NULL, *group = NULL, *role = NULL, *words[2] = {NULL, NULL};
    const args_option known[] = {
        {"--sub", ARGS_TEXT, &subject, "NAME",
         "to whom: ISSUER#SUBJECT, or a subject of your issuer"},
        {"--group", ARGS_TEXT, &group, "NAME",
         "to which group: ISSUER#GROUP, or one of your issuer"},
        {"--role", ARGS_TEXT, &role, "ROLE", "viewer, operator, worker or admin"},
    };
    int code = args_parse(cli, argc, argv, known, WM_ARRAY_LEN(known), words, 0, 2);

    if (code != ARGS_GO_ON)
        return code;
    for (size_t i = 0; i < WM_ARRAY_LEN(words) && words[i] != NULL; i++) {
        if (subject == NULL && group == NULL)
            subject = words[i];
        else if (role == NULL)
            role = words[i];
        else
            return cli_usage(cli, "\"%s\" is one parameter too many", words[i]);
    }
    if ((subject == NULL) == (group == NULL))
        return cli_usage(cli, "needs a subject or --group NAME");
    if (role == NULL || !role_read(role, &request.role))
        return cli_usage(cli, "needs a role: viewer, operator, worker or admin");
    request.namespace_ = (char *)cli->namespace_name;
    request.member_case = group != NULL ? WAYMARK__AUTH__V1__GRANT_REQUEST__MEMBER_GROUP
                                        : WAYMARK__AUTH__V1__GRANT_REQUEST__MEMBER_PRINCIPAL;
    if (group != NULL)
        request.group = (char *)group;
    else
        request.principal = (char *)subject;
    return grant_send(cli, &request);
}

/* ---- revoke ---- */

static int revoke_run(cli *cli, int argc, char **argv)
{
    Waymark__Auth__V1__RevokeRequest request = WAYMARK__AUTH__V1__REVOKE_REQUEST__INIT;
    const char *grant_id = NULL;
    waymark_reply *reply = NULL;
    int code = args_connect(cli, argc, argv, NULL, 0, &grant_id, 1, 1);

    if (code != ARGS_GO_ON)
        return code;
    request.namespace_ = (char *)cli->namespace_name;
    request.grant_id = (char *)grant_id;
    code = CLI_OK;
    if (waymark_auth_v1_auth_service_revoke_sync(cli->client, &request, NULL, &reply) == NULL)
        code = cli_refused(cli, waymark_reply_status(reply));
    else if (!cli->json)
        printf("revoked %s\n", grant_id);
    waymark_reply_free(reply);
    return code;
}

/* ---- grants ---- */

static void grants_add(cli *cli, table *table, const Waymark__Auth__V1__Grant *grant)
{
    bool group = grant->member_case == WAYMARK__AUTH__V1__GRANT__MEMBER_GROUP;
    const char *cells[] = {
        grant->grant_id,
        group ? "group" : "principal",
        group ? grant->group : grant->principal,
        role_name((int)grant->role),
        cli_time(cli, grant->create_time),
    };

    table_add_message(table, cells, &grant->base);
}

static int grants_run(cli *cli, int argc, char **argv)
{
    static const char *const titles[] = {"GRANT", "KIND", "MEMBER", "ROLE", "SINCE"};
    Waymark__Auth__V1__ListGrantsRequest request = WAYMARK__AUTH__V1__LIST_GRANTS_REQUEST__INIT;
    table table;
    int code = args_connect(cli, argc, argv, NULL, 0, NULL, 0, 0);

    if (code != ARGS_GO_ON)
        return code;
    table_begin(&table, cli, titles, WM_ARRAY_LEN(titles));
    request.namespace_ = (char *)cli->namespace_name;
    do {
        waymark_reply *reply = NULL;
        const Waymark__Auth__V1__ListGrantsResponse *page =
            waymark_auth_v1_auth_service_list_grants_sync(cli->client, &request, NULL, &reply);

        if (page == NULL)
            return cli_refused_reply(cli, reply);
        for (size_t i = 0; i < page->n_grants; i++)
            grants_add(cli, &table, page->grants[i]);
        request.page_token = cli_page_token(cli, page->next_page_token, reply);
    } while (*request.page_token != '\0');
    table_end(&table, "no grants");
    return CLI_OK;
}

const cli_command cli_auth_commands[] = {
    {"whoami", "", "Says whom the server takes you for.", NULL, whoami_run},
    {"grant", "SUBJECT ROLE", "Gives a role: viewer, operator, worker or admin.",
     "With --group NAME in place of SUBJECT, to everybody in the group.", grant_run},
    {"revoke", "GRANT_ID", "Takes a grant away.", NULL, revoke_run},
    {"grants", "", "Lists who has which role.", NULL, grants_run},
    {0},
};
