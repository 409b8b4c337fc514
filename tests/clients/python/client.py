"""The scenario of ../README.md by grpcio, blocking."""

import base64
import json
import os
import queue
import urllib.parse
import urllib.request

import grpc
from google.protobuf import struct_pb2, timestamp_pb2
from google.rpc import error_details_pb2, status_pb2

from waymark.auth.v1 import auth_service_pb2, auth_service_pb2_grpc, grant_pb2
from waymark.geo.v1 import fence_service_pb2, fence_service_pb2_grpc, geo_pb2, track_service_pb2, track_service_pb2_grpc
from waymark.workflow.v1 import (
    chart_pb2,
    chart_service_pb2,
    chart_service_pb2_grpc,
    instance_pb2,
    task_service_pb2,
    task_service_pb2_grpc,
    workflow_service_pb2,
    workflow_service_pb2_grpc,
)

ADDRESS = os.environ["WAYMARK_ADDRESS"]
ISSUER = os.environ["WAYMARK_ISSUER"]
NAME = os.environ["WAYMARK_NAME"]
WEST = float(os.environ["WAYMARK_WEST"])
TIMEOUT_S = 20


def check(condition, what):
    if not condition:
        raise AssertionError(what)


def log_in():
    """An access token, as any OAuth client gets it."""
    with urllib.request.urlopen(ISSUER + "/.well-known/openid-configuration") as answer:
        endpoint = json.load(answer)["token_endpoint"]
    form = urllib.parse.urlencode({"grant_type": "client_credentials", "scope": "operator worker"})
    basic = base64.b64encode(f"{urllib.parse.quote(NAME)}:secret".encode()).decode()
    request = urllib.request.Request(endpoint, form.encode(), {"Authorization": "Basic " + basic})
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)["access_token"]


def struct(**members):
    value = struct_pb2.Struct()
    value.update(members)
    return value


def fix(entity, second, east, lat_deg=0.5):
    """Where `entity` was, in degrees east of our own piece of the world."""
    time = timestamp_pb2.Timestamp(seconds=1_700_000_000 + second)
    return geo_pb2.Position(entity_id=f"{NAME}-{entity}", time=time, lon_deg=WEST + east, lat_deg=lat_deg)


def failure(call, request, **options):
    """The status that the call ends with: code, reason, domain and the fields that are wrong."""
    try:
        call(request, timeout=TIMEOUT_S, **options)
    except grpc.RpcError as error:
        info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
        trailers = dict(error.trailing_metadata())
        for detail in status_pb2.Status.FromString(trailers["grpc-status-details-bin"]).details:
            detail.Unpack(info)
            detail.Unpack(bad)
        return error.code(), info.reason, info.domain, [violation.field for violation in bad.field_violations]
    raise AssertionError("the call did not fail")


class Scenario:
    def __init__(self, channel):
        self.auth = auth_service_pb2_grpc.AuthServiceStub(channel)
        self.fences = fence_service_pb2_grpc.FenceServiceStub(channel)
        self.tracks = track_service_pb2_grpc.TrackServiceStub(channel)
        self.charts = chart_service_pb2_grpc.ChartServiceStub(channel)
        self.flows = workflow_service_pb2_grpc.WorkflowServiceStub(channel)
        self.tasks = task_service_pb2_grpc.TaskServiceStub(channel)
        self.me = ()
        self.revision = ""
        self.watch_call = None

    def with_token(self, timeout=TIMEOUT_S):
        return {"metadata": self.me, "timeout": timeout}

    def login(self):
        self.me = (("authorization", "Bearer " + log_in()),)
        me = self.auth.WhoAmI(auth_service_pb2.WhoAmIRequest(), **self.with_token())
        check(me.principal == f"{ISSUER}#{NAME}", me)
        check(list(me.roles) == [grant_pb2.ROLE_OPERATOR, grant_pb2.ROLE_WORKER], me)

    def refused(self):
        status = failure(self.auth.WhoAmI, auth_service_pb2.WhoAmIRequest())
        check(status == (grpc.StatusCode.UNAUTHENTICATED, "TOKEN_MISSING", "waymark", []), status)

    def fence(self):
        ring = [[WEST, 0], [WEST + 1, 0], [WEST + 1, 1], [WEST, 1], [WEST, 0]]
        fence = geo_pb2.Fence(fence_id=f"{NAME}-yard", geometry=struct(type="Polygon", coordinates=[ring]))
        made = self.fences.CreateFence(fence_service_pb2.CreateFenceRequest(fence=fence), **self.with_token())
        check(made.fence.fence_id == fence.fence_id and made.fence.etag, made)
        check(made.fence.geometry == fence.geometry, made)

    def report_positions(self, *fixes):
        return self.tracks.ReportPositions(
            track_service_pb2.ReportPositionsRequest(positions=fixes), **self.with_token()
        )

    def report(self):
        reply = self.report_positions(fix("van", 0, 2), fix("van", 60, 0.5))
        check(list(reply.outcomes) == [geo_pb2.POSITION_OUTCOME_STORED] * 2, reply)
        check(len(reply.crossings) == 1, reply)
        crossing = reply.crossings[0]
        check((crossing.entity_id, crossing.fence_id) == (f"{NAME}-van", f"{NAME}-yard"), reply)
        check(crossing.kind == geo_pb2.CROSSING_KIND_ENTER, reply)
        check(crossing.time.seconds == 1_700_000_060, reply)
        self.revision = reply.revision

    def search(self):
        request = track_service_pb2.SearchNearbyRequest(
            lon_deg=WEST + 0.5, lat_deg=0.5, limit=1, revision=self.revision
        )
        found = self.tracks.SearchNearby(request, **self.with_token()).entities
        check([entity.position.entity_id for entity in found] == [f"{NAME}-van"], found)
        check(found[0].distance_m < 1, found)

    def stream(self):
        """Twenty messages through the yard: acknowledged in order, in at the 5th, out at the 15th."""
        messages = (
            track_service_pb2.StreamPositionsRequest(sequence=n, positions=[fix("bike", n, n / 10 - 0.45)])
            for n in range(1, 21)
        )
        replies = list(self.tracks.StreamPositions(messages, **self.with_token()))
        check([reply.sequence for reply in replies] == list(range(1, 21)), replies)
        crossings = [(reply.sequence, crossing.kind) for reply in replies for crossing in reply.crossings]
        check(crossings == [(5, geo_pb2.CROSSING_KIND_ENTER), (15, geo_pb2.CROSSING_KIND_EXIT)], crossings)

    def watch(self):
        """The first message says that the watch is on: what is committed after it is seen, and the
        ENTER of just before may be."""
        request = fence_service_pb2.WatchFenceEventsRequest(entity_ids=[f"{NAME}-van"])
        self.watch_call = self.fences.WatchFenceEvents(request, **self.with_token())
        check(next(self.watch_call).resume_token, "no resume token")
        self.report_positions(fix("van", 120, 2))
        events = []
        while not events:
            events = [e for e in next(self.watch_call).events if e.kind != geo_pb2.CROSSING_KIND_ENTER]
        check(len(events) == 1 and events[0].kind == geo_pb2.CROSSING_KIND_EXIT, events)
        check(events[0].fence_id == f"{NAME}-yard", events)

    def cancel(self):
        self.watch_call.cancel()
        try:
            for _ in self.watch_call:
                pass
            raise AssertionError("the call ended by itself")
        except grpc.RpcError as error:
            check(error.code() == grpc.StatusCode.CANCELLED, error)

    def deadline(self):
        request = track_service_pb2.WatchPositionsRequest(entity_ids=[f"{NAME}-nobody"])
        try:
            for _ in self.tracks.WatchPositions(request, **self.with_token(timeout=0.3)):
                pass
            raise AssertionError("the call ended by itself")
        except grpc.RpcError as error:
            check(error.code() == grpc.StatusCode.DEADLINE_EXCEEDED, error)

    def chart(self):
        weigh = chart_pb2.StartTask(name="weigh", queue=f"{NAME}-scale", input={"item": "event.data.item"})
        keep = chart_pb2.Assign(variable="grams", expression="event.data.grams")
        waiting = chart_pb2.State(
            id="waiting", transitions=[chart_pb2.Transition(event="pack", targets=["packing"])]
        )
        packing = chart_pb2.State(
            id="packing",
            on_entry=[chart_pb2.Action(start_task=weigh)],
            transitions=[
                chart_pb2.Transition(
                    event="done.task.weigh", targets=["sent"], actions=[chart_pb2.Action(assign=keep)]
                )
            ],
        )
        sent = chart_pb2.State(id="sent", kind=chart_pb2.STATE_KIND_FINAL)
        chart = chart_pb2.Chart(
            chart_id=f"{NAME}-parcel", initial=["waiting"], states=[waiting, packing, sent], data=struct(grams=0)
        )
        reply = self.charts.PutChart(chart_service_pb2.PutChartRequest(chart=chart), **self.with_token())
        check((reply.version, reply.created) == (1, True), reply)

    def start(self):
        request = workflow_service_pb2.StartInstanceRequest(
            chart_id=f"{NAME}-parcel", instance_id=f"{NAME}-parcel-1", request_id="start-1"
        )
        first = self.flows.StartInstance(request, **self.with_token())
        check(first.created and list(first.instance.configuration) == ["waiting"], first)
        check(not self.flows.StartInstance(request, **self.with_token()).created, "started twice")

    def event(self):
        request = workflow_service_pb2.SendEventRequest(
            instance_id=f"{NAME}-parcel-1", event="pack", data=struct(item="Bücher 📚")
        )
        reply = self.flows.SendEvent(request, **self.with_token())
        check(reply.handled and list(reply.configuration) == ["packing"], reply)
        check(reply.status == instance_pb2.INSTANCE_STATUS_RUNNING, reply)

    def work(self):
        """Takes the task, gives its result, sees it acknowledged, and what became of the instance."""
        outgoing = queue.Queue()
        open_worker = task_service_pb2.OpenWorker(queues=[f"{NAME}-scale"], credits=1, worker=NAME)
        outgoing.put(task_service_pb2.WorkTasksRequest(open=open_worker))
        call = self.tasks.WorkTasks(iter(outgoing.get, None), **self.with_token())
        tasks = next(reply.tasks for reply in call if reply.tasks)
        check(len(tasks) == 1 and tasks[0].name == "weigh" and tasks[0].attempt == 1, tasks)
        check(tasks[0].input == struct(item="Bücher 📚"), tasks)
        result = task_service_pb2.TaskResult(lease_token=tasks[0].lease_token, result=struct(grams=120.5))
        outgoing.put(task_service_pb2.WorkTasksRequest(result=result))
        acks = next(reply.acks for reply in call if reply.acks)
        check([(ack.lease_token, ack.code) for ack in acks] == [(tasks[0].lease_token, 0)], acks)
        outgoing.put(None)
        check(list(call) == [], "the stream goes on after its end")
        request = workflow_service_pb2.GetInstanceRequest(instance_id=f"{NAME}-parcel-1")
        instance = self.flows.GetInstance(request, **self.with_token()).instance
        check(instance.status == instance_pb2.INSTANCE_STATUS_ENDED, instance)
        check(instance.data == struct(grams=120.5), instance)

    def field(self):
        request = track_service_pb2.ReportPositionsRequest(positions=[fix("van", 180, 0), fix("van", 240, 361)])
        status = failure(self.tracks.ReportPositions, request, metadata=self.me)
        wanted = ["positions[1].lon_deg"]
        check(status == (grpc.StatusCode.INVALID_ARGUMENT, "COORDINATE_OUT_OF_RANGE", "waymark", wanted), status)

    def missing(self):
        request = track_service_pb2.GetEntityRequest(entity_id=f"{NAME}-nobody")
        status = failure(self.tracks.GetEntity, request, metadata=self.me)
        check(status == (grpc.StatusCode.NOT_FOUND, "ENTITY_NOT_FOUND", "waymark", []), status)


STEPS = (
    "login refused fence report search stream watch cancel deadline chart start event work field missing"
).split()


def main():
    with grpc.insecure_channel(ADDRESS) as channel:
        scenario = Scenario(channel)
        for step in STEPS:
            getattr(scenario, step)()
            print("ok", step, flush=True)


main()
