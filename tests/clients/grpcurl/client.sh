#!/usr/bin/env bash
# tests/clients/grpcurl/client.sh - the scenario of ../README.md by grpcurl, by way of reflection.
#
# Requests and replies are JSON; `jq -e` judges a reply, and a step that fails ends the script.
# shellcheck disable=SC2016,SC2094 # the dollars are jq's; files are read only after they are written
set -euo pipefail

TIMEOUT_S=20
AUTH=()

# call METHOD [OPTION...] <REQUESTS: the replies, one a line.
call() {
    local method=$1
    shift
    "$GRPCURL" -plaintext -format-error -max-time "$TIMEOUT_S" "${AUTH[@]}" "$@" -d @ \
        "$WAYMARK_ADDRESS" "waymark.$method" | jq --unbuffered -c .
}

# is CONDITION...: what comes in is true of it. $name, $west and $issuer are known.
is() {
    jq -e --arg name "$WAYMARK_NAME" --arg issuer "$WAYMARK_ISSUER" --argjson west "$WAYMARK_WEST" \
        "$@" >"$SCRATCH/judged" || {
        printf 'not so: %s\n' "$*" >&2
        cat "$SCRATCH/judged" >&2
        return 1
    }
}

# message PROGRAM: a request, by jq, with the same names known.
message() {
    jq -nc --arg name "$WAYMARK_NAME" --argjson west "$WAYMARK_WEST" "$DEFINITIONS $1"
}

# Where an entity was, in degrees east of our own piece of the world.
readonly DEFINITIONS='
def fix(entity; second; east): {
    entityId: "\($name)-\(entity)", time: (1700000000 + second | todate),
    lonDeg: ($west + east), latDeg: 0.5
};'

# failure METHOD <REQUEST: the google.rpc.Status that grpcurl makes of the error, with its code.
failure() {
    local status=0
    call "$1" 2>"$SCRATCH/error" >/dev/null || status=$?
    cat "$SCRATCH/error"
    [ "$status" -gt 64 ] # 64 and the code
}

# explained CODE REASON [FIELD...]: what a failure must be.
explained() {
    is --argjson code "$1" --arg reason "$2" '
        [.code, ([.details[] | select(.reason)][0] | .reason, .domain),
         (.details[] | .fieldViolations[]?.field)]
        == [$code, $reason, "waymark"] + $ARGS.positional' --args "${@:3}"
}

# An access token, as any OAuth client gets it.
log_in() {
    local endpoint
    endpoint=$(curl -sSf "$WAYMARK_ISSUER/.well-known/openid-configuration" | jq -er .token_endpoint)
    curl -sSf --user "$WAYMARK_NAME:secret" --data-urlencode grant_type=client_credentials \
        --data-urlencode 'scope=operator worker' "$endpoint" | jq -er .access_token
}

login() {
    AUTH=(-H "authorization: Bearer $(log_in)")
    call auth.v1.AuthService/WhoAmI <<<'{}' |
        is '.principal == "\($issuer)#\($name)" and .roles == ["ROLE_OPERATOR", "ROLE_WORKER"]'
}

refused() {
    local AUTH=()
    failure auth.v1.AuthService/WhoAmI <<<'{}' | explained 16 TOKEN_MISSING
}

fence() {
    message '[[0,0], [1,0], [1,1], [0,1], [0,0]] | map([.[0] + $west, .[1]])
        | {fence: {fenceId: "\($name)-yard", geometry: {type: "Polygon", coordinates: [.]}}}' >"$SCRATCH/fence"
    call geo.v1.FenceService/CreateFence <"$SCRATCH/fence" |
        is --slurpfile asked "$SCRATCH/fence" \
            '.fence | .fenceId == "\($name)-yard" and .etag and .geometry == $asked[0].fence.geometry'
}

report() {
    message '{positions: [fix("van"; 0; 2), fix("van"; 60; 0.5)]}' |
        call geo.v1.TrackService/ReportPositions >"$SCRATCH/reply"
    is '.outcomes == ["POSITION_OUTCOME_STORED", "POSITION_OUTCOME_STORED"] and .crossings == [{
            entityId: "\($name)-van", fenceId: "\($name)-yard", kind: "CROSSING_KIND_ENTER",
            time: (1700000060 | todate)}]' <"$SCRATCH/reply"
}

search() {
    message '{lonDeg: ($west + 0.5), latDeg: 0.5, limit: 1}' |
        jq -c --slurpfile reply "$SCRATCH/reply" '.revision = $reply[0].revision' |
        call geo.v1.TrackService/SearchNearby |
        is '.entities | length == 1 and .[0].position.entityId == "\($name)-van" and (.[0].distanceM // 0) < 1'
}

# Twenty messages through the yard: acknowledged in order, in at the 5th, out at the 15th.
stream() {
    message 'range(1; 21) | {sequence: ., positions: [fix("bike"; .; . / 10 - 0.45)]}' |
        call geo.v1.TrackService/StreamPositions |
        is -s '[.[].sequence | tonumber] == [range(1; 21)] and
            [.[] | select(.crossings) | .sequence, .crossings[].kind]
            == ["5", "CROSSING_KIND_ENTER", "15", "CROSSING_KIND_EXIT"]'
}

# follow METHOD REQUESTS: grpcurl in the background, fed by a file or a pipe; its replies come line
# by line on file descriptor 3.
follow() {
    "$GRPCURL" -plaintext -max-time "$TIMEOUT_S" "${AUTH[@]}" -d @ "$WAYMARK_ADDRESS" "waymark.$1" \
        <"$2" >"$SCRATCH/replies" 2>"$SCRATCH/error" &
    FOLLOWED=$!
    exec 3< <(tail -n +1 -f --pid="$FOLLOWED" "$SCRATCH/replies" | jq --unbuffered -c .)
}

# The next reply that holds this list.
next_with() {
    local line
    while read -r -t "$TIMEOUT_S" -u 3 line; do
        if jq -e ".$1" <<<"$line" >/dev/null; then
            printf '%s\n' "$line"
            return 0
        fi
    done
    return 1
}

# The first message says that the watch is on: what is committed after it is seen, and the ENTER of
# just before may be.
watch() {
    local seen
    message '{entityIds: ["\($name)-van"]}' >"$SCRATCH/request"
    follow geo.v1.FenceService/WatchFenceEvents "$SCRATCH/request"
    next_with resumeToken >/dev/null
    message '{positions: [fix("van"; 120; 2)]}' | call geo.v1.TrackService/ReportPositions >/dev/null
    seen=$(next_with events)
    [[ $seen != *CROSSING_KIND_ENTER* ]] || seen=$(next_with events)
    is '.events | map([.fenceId, .kind]) == [["\($name)-yard", "CROSSING_KIND_EXIT"]]' <<<"$seen"
}

# grpcurl cannot cancel but by its end, after which nobody is left to see a status; the server's
# log, which the runner reads, has it.
cancel() {
    kill "$FOLLOWED"
    wait "$FOLLOWED" || true
    exec 3<&-
}

# Two seconds, as asking reflection takes part of them.
deadline() {
    local status=0
    call geo.v1.TrackService/WatchPositions -max-time 2 \
        <<<"$(message '{entityIds: ["\($name)-nobody"]}')" >/dev/null 2>&1 || status=$?
    [ "$status" -eq 68 ] # 64 and DEADLINE_EXCEEDED
}

chart() {
    message '{chart: {
        chartId: "\($name)-parcel", initial: ["waiting"], data: {grams: 0},
        states: [
            {id: "waiting", transitions: [{event: "pack", targets: ["packing"]}]},
            {id: "packing",
             onEntry: [{startTask: {name: "weigh", queue: "\($name)-scale", input: {item: "event.data.item"}}}],
             transitions: [{event: "done.task.weigh", targets: ["sent"],
                            actions: [{assign: {variable: "grams", expression: "event.data.grams"}}]}]},
            {id: "sent", kind: "STATE_KIND_FINAL"}]}}' |
        call workflow.v1.ChartService/PutChart | is '.version == "1" and .created'
}

start() {
    local request
    request=$(message '{chartId: "\($name)-parcel", instanceId: "\($name)-parcel-1", requestId: "start-1"}')
    call workflow.v1.WorkflowService/StartInstance <<<"$request" |
        is '.created and .instance.configuration == ["waiting"]'
    call workflow.v1.WorkflowService/StartInstance <<<"$request" | is '.created | not'
}

event() {
    message '{instanceId: "\($name)-parcel-1", event: "pack", data: {item: "Bücher 📚"}}' |
        call workflow.v1.WorkflowService/SendEvent |
        is '.handled and .configuration == ["packing"] and .status == "INSTANCE_STATUS_RUNNING"'
}

# Takes the task, gives its result, sees it acknowledged, and what became of the instance.
work() {
    local lease_token
    mkfifo "$SCRATCH/requests"
    follow workflow.v1.TaskService/WorkTasks "$SCRATCH/requests"
    exec 4>"$SCRATCH/requests"
    message '{open: {queues: ["\($name)-scale"], credits: 1, worker: $name}}' >&4
    next_with tasks >"$SCRATCH/tasks"
    is '.tasks | map([.name, .attempt, .input]) == [["weigh", 1, {item: "Bücher 📚"}]]' <"$SCRATCH/tasks"
    lease_token=$(jq -r '.tasks[0].leaseToken' "$SCRATCH/tasks")
    jq -nc --arg token "$lease_token" '{result: {leaseToken: $token, result: {grams: 120.5}}}' >&4
    next_with acks | is --arg token "$lease_token" '.acks | map([.leaseToken, .code // 0]) == [[$token, 0]]'
    exec 4>&-
    wait "$FOLLOWED" # ends with OK, or the script ends here
    message '{instanceId: "\($name)-parcel-1"}' | call workflow.v1.WorkflowService/GetInstance |
        is '.instance | .status == "INSTANCE_STATUS_ENDED" and .data == {grams: 120.5}'
}

field() {
    message '{positions: [fix("van"; 180; 0), fix("van"; 240; 361)]}' |
        failure geo.v1.TrackService/ReportPositions |
        explained 3 COORDINATE_OUT_OF_RANGE 'positions[1].lon_deg'
}

missing() {
    message '{entityId: "\($name)-nobody"}' | failure geo.v1.TrackService/GetEntity |
        explained 5 ENTITY_NOT_FOUND
}

SCRATCH=$(mktemp -d)
trap 'rm -rf "$SCRATCH"' EXIT
for step in login refused fence report search stream watch cancel deadline chart start event work field missing; do
    "$step"
    printf 'ok %s\n' "$step"
done
