"""The main job by a stock Python client: an entity bound to an instance, crossings that move its
workflow, a task for a worker, and a history that shows each step once."""

import queue
import threading
import unittest

import grpc
from google.protobuf import json_format, struct_pb2, timestamp_pb2

import harness
from harness import bearer, reason

from waymark.geo.v1 import fence_service_pb2, fence_service_pb2_grpc, geo_pb2, track_service_pb2, track_service_pb2_grpc
from waymark.workflow.v1 import (
    chart_service_pb2,
    chart_service_pb2_grpc,
    task_service_pb2,
    task_service_pb2_grpc,
    workflow_service_pb2,
    workflow_service_pb2_grpc,
)

SQUARE = {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]]]}

CHART = {
    "chartId": "berth",
    "initial": ["away"],
    "states": [
        {"id": "away", "transitions": [{"event": "fence.enter", "targets": ["inside"]}]},
        {
            "id": "inside",
            "onEntry": [{"startTask": {"name": "inspect", "queue": "harbour", "input": {"fence": "event.data.fence"}}}],
            "transitions": [{"event": "fence.exit", "targets": ["away"]}],
        },
    ],
}


def struct(value):
    return json_format.ParseDict(value, struct_pb2.Struct())


def at(second):
    return timestamp_pb2.Timestamp(seconds=1_700_000_000 + second)


def fix(entity, second, lon, lat):
    return geo_pb2.Position(entity_id=entity, time=at(second), lon_deg=lon, lat_deg=lat)


class Journey(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = harness.Server().start()
        cls.addClassCleanup(cls.server.close)
        channel = cls.server.channel()
        cls.addClassCleanup(channel.close)
        cls.fences = fence_service_pb2_grpc.FenceServiceStub(channel)
        cls.tracks = track_service_pb2_grpc.TrackServiceStub(channel)
        cls.charts = chart_service_pb2_grpc.ChartServiceStub(channel)
        cls.flows = workflow_service_pb2_grpc.WorkflowServiceStub(channel)
        cls.tasks = task_service_pb2_grpc.TaskServiceStub(channel)
        cls.operator = bearer(cls.server.token("olga", "operator"))
        cls.worker = bearer(cls.server.token("wim", "worker"))
        cls.fences.CreateFence(
            fence_service_pb2.CreateFenceRequest(fence=geo_pb2.Fence(fence_id="port", geometry=struct(SQUARE))),
            metadata=cls.operator,
        )
        request = json_format.ParseDict({"chart": CHART}, chart_service_pb2.PutChartRequest())
        cls.charts.PutChart(request, metadata=cls.operator)

    def start(self, entity):
        request = workflow_service_pb2.StartInstanceRequest(
            chart_id="berth", instance_id=f"visit-{entity}", entity_id=entity
        )
        return self.flows.StartInstance(request, metadata=self.operator).instance

    def history(self, entity):
        request = workflow_service_pb2.ListHistoryRequest(instance_id=f"visit-{entity}", page_size=1000)
        return self.flows.ListHistory(request, metadata=self.operator).entries

    def report(self, *positions):
        request = track_service_pb2.ReportPositionsRequest(positions=positions)
        return self.tracks.ReportPositions(request, metadata=self.operator)

    def test_reply_carries_the_crossings_and_the_instance_has_moved(self):
        self.start("v1")
        reply = self.report(fix("v1", 0, 2, 2), fix("v1", 1, 0.5, 0.5))
        self.assertEqual([(c.entity_id, c.fence_id, c.kind) for c in reply.crossings], [("v1", "port", 1)])
        instance = self.flows.GetInstance(
            workflow_service_pb2.GetInstanceRequest(instance_id="visit-v1"), metadata=self.operator
        ).instance
        self.assertEqual(list(instance.configuration), ["inside"])

    def test_history_shows_each_crossing_once(self):
        self.start("v2")
        for second in range(6):
            place = (0.5, 0.5) if second % 2 else (2, 2)
            for _ in range(2):  # every fix twice: a repeat changes nothing
                self.report(fix("v2", second, *place))
        events = [entry.event for entry in self.history("v2") if entry.event.startswith("fence.")]
        self.assertEqual(events, ["fence.enter", "fence.exit", "fence.enter", "fence.exit", "fence.enter"])

    def test_poll_and_complete_by_lease(self):
        self.start("v3")
        self.report(fix("v3", 0, 0.5, 0.5))
        mine = None
        while mine is None:
            task = self.tasks.PollTask(
                task_service_pb2.PollTaskRequest(queues=["harbour"], wait_timeout={"seconds": 5}), metadata=self.worker
            ).task
            self.assertTrue(task.lease_token, "no task within five seconds")
            done = task_service_pb2.CompleteTaskRequest(lease_token=task.lease_token)
            self.tasks.CompleteTask(done, metadata=self.worker)
            mine = task if task.instance_id == "visit-v3" else None
        self.assertEqual(json_format.MessageToDict(mine.input), {"fence": "port"})
        with self.assertRaises(grpc.RpcError) as caught:
            self.tasks.CompleteTask(
                task_service_pb2.CompleteTaskRequest(lease_token=mine.lease_token), metadata=self.worker
            )
        self.assertIn(caught.exception.code(), (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.ABORTED))
        self.assertIn("done.task.inspect", [entry.event for entry in self.history("v3")])

    def test_worker_stream_gets_and_completes(self):
        outgoing = queue.Queue()
        outgoing.put(
            task_service_pb2.WorkTasksRequest(
                open=task_service_pb2.OpenWorker(queues=["harbour"], credits=10, worker="wim")
            )
        )
        stream = self.tasks.WorkTasks(iter(outgoing.get, None), metadata=self.worker)
        wanted = {f"visit-s{n}" for n in range(5)}
        seen = set()

        def work():
            for reply in stream:
                for task in reply.tasks:
                    result = task_service_pb2.TaskResult(lease_token=task.lease_token, add_credit=True)
                    outgoing.put(task_service_pb2.WorkTasksRequest(result=result))
                    seen.add(task.instance_id)
                if seen >= wanted:
                    return

        worker = threading.Thread(target=work)
        worker.start()
        for n in range(5):
            self.start(f"s{n}")
            self.report(fix(f"s{n}", 0, 0.5, 0.5))
        worker.join(30)
        self.assertFalse(worker.is_alive(), f"tasks seen: {seen}")
        for n in range(5):
            harness.wait_for(
                lambda n=n: "done.task.inspect" in [e.event for e in self.history(f"s{n}")], "the task is done"
            )
        outgoing.put(None)
        stream.cancel()

    def test_stream_positions_acknowledges_in_order(self):
        def messages():
            for n in range(50):
                yield track_service_pb2.StreamPositionsRequest(sequence=n + 1, positions=[fix("st", n, n / 10, 0.5)])

        replies = list(self.tracks.StreamPositions(messages(), metadata=self.operator))
        self.assertEqual([reply.sequence for reply in replies], list(range(1, 51)))
        kinds = [c.kind for reply in replies for c in reply.crossings]
        self.assertEqual(kinds, [1, 2] if kinds else [])

    def test_watch_fence_events_sees_what_was_committed_and_resumes(self):
        request = fence_service_pb2.WatchFenceEventsRequest()
        watch = self.fences.WatchFenceEvents(request, metadata=self.operator)
        got = queue.Queue()

        def read():
            try:
                for reply in watch:
                    got.put(reply)
            except grpc.RpcError:
                pass

        threading.Thread(target=read, daemon=True).start()

        second = iter(range(10_000))
        seen = []

        def poke():
            self.report(fix("w1", next(second), 0.5, 0.5), fix("w1", next(second), 3, 3))
            while True:
                try:
                    seen.append(got.get(timeout=0.2))
                except queue.Empty:
                    return any("w1" in str(reply) for reply in seen)

        harness.wait_for(poke, "a watched crossing", 20)
        watch.cancel()

    def test_search_after_reply_sees_the_position(self):
        reply = self.report(fix("near", 0, 50.0, 50.0))
        request = track_service_pb2.SearchNearbyRequest(lon_deg=50, lat_deg=50, limit=1, revision=reply.revision)
        found = self.tracks.SearchNearby(request, metadata=self.operator).entities
        self.assertEqual([e.position.entity_id for e in found], ["near"])

    def test_start_is_idempotent_by_request(self):
        request = workflow_service_pb2.StartInstanceRequest(chart_id="berth", instance_id="once", request_id="r-1")
        first = self.flows.StartInstance(request, metadata=self.operator)
        second = self.flows.StartInstance(request, metadata=self.operator)
        self.assertEqual(first.instance.instance_id, second.instance.instance_id)
        self.assertTrue(first.created)
        self.assertFalse(second.created)
        other = workflow_service_pb2.StartInstanceRequest(chart_id="berth", instance_id="once", request_id="r-2")
        with self.assertRaises(grpc.RpcError) as caught:
            self.flows.StartInstance(other, metadata=self.operator)
        self.assertEqual(reason(caught.exception), "INSTANCE_EXISTS")

    def test_bad_input_names_the_field_and_changes_nothing(self):
        with self.assertRaises(grpc.RpcError) as caught:
            self.report(fix("bad", 0, 0.5, 0.5), fix("bad", 1, 181, 0))
        self.assertEqual(caught.exception.code(), grpc.StatusCode.INVALID_ARGUMENT)
        self.assertEqual(reason(caught.exception), "COORDINATE_OUT_OF_RANGE")
        with self.assertRaises(grpc.RpcError) as caught:
            self.tracks.GetEntity(track_service_pb2.GetEntityRequest(entity_id="bad"), metadata=self.operator)
        self.assertEqual(reason(caught.exception), "ENTITY_NOT_FOUND")


if __name__ == "__main__":
    harness.main("__main__")
