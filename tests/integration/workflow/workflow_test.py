"""Workflows over the wire, with real servers on a real PostgreSQL.

Each test has charts, queues and instances of its own, so that they can share two servers,
which share one database: `one` and `two`. The tests of crashes start their own.
"""

import os
import queue
import signal
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "e2e"))

import grpc  # noqa: E402
import harness  # noqa: E402
from google.protobuf import duration_pb2, json_format  # noqa: E402

harness.generate_stubs()

from waymark.geo.v1 import fence_service_pb2, fence_service_pb2_grpc, geo_pb2  # noqa: E402
from waymark.geo.v1 import track_service_pb2, track_service_pb2_grpc  # noqa: E402
from waymark.workflow.v1 import chart_pb2, instance_pb2  # noqa: E402
from waymark.workflow.v1 import chart_service_pb2, chart_service_pb2_grpc  # noqa: E402
from waymark.workflow.v1 import task_service_pb2, task_service_pb2_grpc  # noqa: E402
from waymark.workflow.v1 import workflow_service_pb2, workflow_service_pb2_grpc  # noqa: E402

ENDED = instance_pb2.INSTANCE_STATUS_ENDED
RUNNING = instance_pb2.INSTANCE_STATUS_RUNNING


def duration(seconds):
    made = duration_pb2.Duration()
    made.FromMilliseconds(int(seconds * 1000))
    return made


def task(name, queue_name, **more):
    return {"startTask": dict({"name": name, "queue": queue_name}, **more)}


class Client:
    """One caller on one server."""

    def __init__(self, server, token):
        self.server = server
        self.metadata = harness.bearer(token)
        self.channel = server.channel()
        self.charts = chart_service_pb2_grpc.ChartServiceStub(self.channel)
        self.instances = workflow_service_pb2_grpc.WorkflowServiceStub(self.channel)
        self.tasks = task_service_pb2_grpc.TaskServiceStub(self.channel)
        self.tracks = track_service_pb2_grpc.TrackServiceStub(self.channel)
        self.fences = fence_service_pb2_grpc.FenceServiceStub(self.channel)

    def put(self, chart):
        message = json_format.ParseDict(chart, chart_pb2.Chart())
        request = chart_service_pb2.PutChartRequest(chart=message)
        return self.charts.PutChart(request, metadata=self.metadata)

    def diagnostics(self, chart):
        message = json_format.ParseDict(chart, chart_pb2.Chart())
        request = chart_service_pb2.ValidateChartRequest(chart=message)
        return self.charts.ValidateChart(request, metadata=self.metadata).diagnostics

    def start(self, chart_id, given=None, wait=0, **fields):
        request = workflow_service_pb2.StartInstanceRequest(chart_id=chart_id, **fields)
        request.input.update(given or {})
        if wait:
            request.wait_timeout.CopyFrom(duration(wait))
        return self.instances.StartInstance(request, metadata=self.metadata)

    def send(self, instance_id, event, data=None, **fields):
        request = workflow_service_pb2.SendEventRequest(instance_id=instance_id, event=event, **fields)
        request.data.update(data or {})
        return self.instances.SendEvent(request, metadata=self.metadata)

    def get(self, instance_id):
        request = workflow_service_pb2.GetInstanceRequest(instance_id=instance_id)
        return self.instances.GetInstance(request, metadata=self.metadata).instance

    def wait(self, instance_id, seconds=20, after=0):
        request = workflow_service_pb2.WaitInstanceRequest(
            instance_id=instance_id, after_revision=after, wait_timeout=duration(seconds)
        )
        return self.instances.WaitInstance(request, metadata=self.metadata)

    def history(self, instance_id, page_size=0):
        entries, token = [], ""
        while True:
            request = workflow_service_pb2.ListHistoryRequest(
                instance_id=instance_id, page_size=page_size, page_token=token
            )
            page = self.instances.ListHistory(request, metadata=self.metadata)
            entries.extend(page.entries)
            token = page.next_page_token
            if not token:
                return entries

    def poll(self, queue_name, seconds=10):
        request = task_service_pb2.PollTaskRequest(queues=[queue_name], wait_timeout=duration(seconds))
        return self.tasks.PollTask(request, metadata=self.metadata).task

    def complete(self, lease_token, result=None):
        request = task_service_pb2.CompleteTaskRequest(lease_token=lease_token)
        request.result.update(result or {})
        return self.tasks.CompleteTask(request, metadata=self.metadata)

    def fail(self, lease_token, message="broken", **fields):
        request = task_service_pb2.FailTaskRequest(lease_token=lease_token, message=message, **fields)
        return self.tasks.FailTask(request, metadata=self.metadata)

    def heartbeat(self, lease_token):
        request = task_service_pb2.HeartbeatTaskRequest(lease_token=lease_token)
        return self.tasks.HeartbeatTask(request, metadata=self.metadata)


class Worker:
    """A worker's stream; `handle(worker, task)` runs on its thread."""

    def __init__(self, client, queue_name, credits=10, handle=None):
        self.out = queue.Queue()
        self.tasks, self.acks = [], []
        self.handle = handle
        self.error = None
        opening = task_service_pb2.WorkTasksRequest()
        opening.open.queues.append(queue_name)
        opening.open.credits = credits
        self.out.put(opening)
        self.call = client.tasks.WorkTasks(iter(self.out.get, None), metadata=client.metadata)
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self):
        try:
            for message in self.call:
                self.acks.extend(message.acks)
                for one in message.tasks:
                    self.tasks.append(one)
                    if self.handle:
                        self.handle(self, one)
        except grpc.RpcError as error:
            self.error = error

    def complete(self, one, result=None, add_credit=True):
        message = task_service_pb2.WorkTasksRequest()
        message.result.lease_token = one.lease_token
        message.result.add_credit = add_credit
        message.result.result.update(result or {})
        self.out.put(message)

    def send(self, **kind):
        self.out.put(task_service_pb2.WorkTasksRequest(**kind))

    def close(self):
        """Half-closes and reads to the end."""
        self.out.put(None)
        self.thread.join(20)

    def cancel(self):
        self.call.cancel()
        self.thread.join(20)


class WorkflowTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.one = harness.Server().start()
        cls.two = harness.Server(join=cls.one).start()
        token = cls.one.token("wendy", "admin")
        cls.a, cls.b = Client(cls.one, token), Client(cls.two, token)

    @classmethod
    def tearDownClass(cls):
        cls.two.close()
        cls.one.close()

    def fails(self, reason, call, *arguments, **fields):
        with self.assertRaises(grpc.RpcError) as caught:
            call(*arguments, **fields)
        self.assertEqual(harness.reason(caught.exception), reason)
        return caught.exception

    # ---- charts ----

    def test_chart_versions_are_immutable_and_content_decides(self):
        chart = {"chartId": "versions", "states": [{"id": "a"}]}
        self.assertEqual((self.a.put(chart).version, self.a.put(chart).created), (1, False))
        chart["states"].append({"id": "b"})
        self.assertEqual(self.b.put(chart).version, 2)
        del chart["states"][1]
        self.assertEqual(self.a.put(chart).version, 3)
        get = lambda version: self.a.charts.GetChart(  # noqa: E731
            chart_service_pb2.GetChartRequest(chart_id="versions", version=version), metadata=self.a.metadata
        )
        self.assertEqual([s.id for s in get(2).chart.states], ["a", "b"])
        self.assertEqual(get(0).version, 3)
        self.fails("CHART_NOT_FOUND", get, 4)
        listed = self.a.charts.ListCharts(chart_service_pb2.ListChartsRequest(page_size=1000), metadata=self.a.metadata)
        self.assertIn(("versions", 3), [(c.chart_id, c.version) for c in listed.charts])

    def test_all_errors_of_a_chart_are_told_at_once(self):
        chart = {
            "chartId": "bad id",
            "states": [
                {"id": "a", "transitions": [{"event": "x", "guard": "data.x ===", "targets": ["nowhere"]}]},
                {"id": "a", "onEntry": [{"assign": {"variable": "x"}}]},
            ],
        }
        found = [(d.field, d.reason) for d in self.a.diagnostics(chart)]
        for expected in [
            ("chart.chart_id", "ID_MALFORMED"),
            ("chart.states[1].id", "CHART_INVALID"),
            ("chart.states[0].transitions[0].guard", "EXPRESSION_INVALID"),
            ("chart.states[0].transitions[0].targets[0]", "CHART_INVALID"),
            ("chart.states[1].on_entry[0].assign.expression", "FIELD_REQUIRED"),
        ]:
            self.assertIn(expected, found)
        self.fails("CHART_INVALID", self.a.put, chart)

    def test_a_start_sees_the_version_that_another_server_just_stored(self):
        chart = {"chartId": "fresh", "states": [{"id": "v1"}]}
        self.a.put(chart)
        for version in range(2, 8):
            self.assertEqual(self.b.start("fresh").instance.chart_version, version - 1)
            chart["states"][0]["id"] = f"v{version}"
            self.a.put(chart)
            started = self.b.start("fresh").instance
            self.assertEqual((started.chart_version, list(started.configuration)), (version, [f"v{version}"]))

    # ---- starts and events ----

    def test_starting_again_is_the_same_start(self):
        self.a.put({"chartId": "again", "data": {"n": 1}, "states": [{"id": "s"}]})
        first = self.a.start("again", {"m": 2}, instance_id="again-1", request_id="r")
        self.assertTrue(first.created)
        self.assertEqual(json_format.MessageToDict(first.instance.data), {"n": 1.0, "m": 2.0})
        for client in (self.a, self.b):
            repeat = client.start("again", {"m": 2}, instance_id="again-1", request_id="r")
            self.assertFalse(repeat.created)
            self.assertEqual(repeat.instance, first.instance)
        self.fails("INSTANCE_EXISTS", self.a.start, "again", instance_id="again-1", request_id="other")
        self.fails("INSTANCE_EXISTS", self.b.start, "again", instance_id="again-1")
        # Without an id the request names the instance.
        made = self.a.start("again", request_id="only-request")
        self.assertEqual(self.b.start("again", request_id="only-request").instance, made.instance)
        # Without either, the same content is the same request only for a given id.
        self.assertTrue(self.a.start("again", instance_id="again-2").created)
        self.assertFalse(self.a.start("again", instance_id="again-2").created)
        self.assertNotEqual(self.a.start("again").instance.instance_id, self.a.start("again").instance.instance_id)

    def test_events_are_taken_once_and_answered_alike(self):
        self.a.put(
            {
                "chartId": "counter",
                "data": {"n": 0},
                "states": [
                    {
                        "id": "on",
                        "transitions": [
                            {
                                "event": "add",
                                "actions": [{"assign": {"variable": "n", "expression": "data.n + event.data.by"}}],
                            },
                            {"event": "stop", "guard": "data.n >= 3", "targets": ["off"]},
                        ],
                    },
                    {"id": "off", "kind": "STATE_KIND_FINAL"},
                ],
            }
        )
        name = self.a.start("counter").instance.instance_id
        first = self.a.send(name, "add", {"by": 2}, request_id="x")
        self.assertEqual((first.revision, first.handled, first.repeated), (2, True, False))
        repeat = self.b.send(name, "add", {"by": 2}, request_id="x")
        self.assertEqual((repeat.revision, repeat.handled, repeat.repeated), (2, True, True))
        self.assertFalse(self.a.send(name, "stop").handled)
        self.assertFalse(self.a.send(name, "what").handled)
        self.a.send(name, "add", {"by": 1})
        last = self.b.send(name, "stop")
        self.assertEqual((list(last.configuration), last.status), (["off"], ENDED))
        self.fails("INSTANCE_ENDED", self.a.send, name, "add", {"by": 1})
        self.fails("INSTANCE_NOT_FOUND", self.a.send, "nobody", "add")
        entries = self.a.history(name, page_size=2)
        self.assertEqual([e.revision for e in entries], [1, 2, 3, 4, 5, 6])
        self.assertEqual([e.event for e in entries], ["", "add", "stop", "what", "add", "stop"])
        self.assertEqual(list(entries[-1].from_configuration), ["on"])
        self.assertEqual(entries[1].request_id, "x")

    def test_events_sent_at_once_all_count(self):
        self.a.put(
            {
                "chartId": "busy",
                "data": {"n": 0},
                "states": [
                    {
                        "id": "on",
                        "transitions": [
                            {"event": "add", "actions": [{"assign": {"variable": "n", "expression": "data.n + 1"}}]}
                        ],
                    }
                ],
            }
        )
        name = self.a.start("busy").instance.instance_id
        calls = []
        for i in range(300):
            client = (self.a, self.b)[i % 2]
            request = workflow_service_pb2.SendEventRequest(instance_id=name, event="add", request_id=f"r{i % 150}")
            calls.append(client.instances.SendEvent.future(request, metadata=client.metadata))
        revisions = [call.result().revision for call in calls]
        self.assertEqual(json_format.MessageToDict(self.a.get(name).data), {"n": 150.0})
        self.assertEqual(sorted(set(revisions)), list(range(2, 152)))

    def test_a_chart_that_loops_changes_nothing(self):
        self.a.put(
            {
                "chartId": "loops",
                "states": [
                    {"id": "a", "transitions": [{"event": "go", "targets": ["b"]}]},
                    {"id": "b", "transitions": [{"targets": ["c"]}]},
                    {"id": "c", "transitions": [{"targets": ["b"]}]},
                ],
            }
        )
        name = self.a.start("loops").instance.instance_id
        self.fails("CHART_LOOPS", self.a.send, name, "go")
        self.assertEqual((self.a.get(name).revision, list(self.a.get(name).configuration)), (1, ["a"]))

    def test_bad_requests_are_told_apart(self):
        self.a.put({"chartId": "strict", "states": [{"id": "s"}]})
        self.fails("CHART_NOT_FOUND", self.a.start, "no-such-chart")
        self.fails("FIELD_REQUIRED", self.a.start, "")
        self.fails("ID_MALFORMED", self.a.start, "strict", instance_id="with space")
        self.fails("FIELD_TOO_LONG", self.a.start, "strict", request_id="r" * 129)
        self.fails("FIELD_REQUIRED", self.a.send, "x", "")
        self.fails("FIELD_INVALID", self.a.send, "x", "two words")
        self.fails("INSTANCE_NOT_FOUND", self.a.get, "nobody")
        self.fails("INSTANCE_NOT_FOUND", self.a.history, "nobody")
        self.fails("FIELD_INVALID", self.a.complete, "no token")

    # ---- timers ----

    def test_after_timers_fire_once_with_two_servers(self):
        self.a.put(
            {
                "chartId": "after",
                "data": {"n": 0},
                "states": [
                    {
                        "id": "tick",
                        "transitions": [
                            {
                                "after": "0.05s",
                                "guard": "data.n < 5",
                                "targets": ["tick"],
                                "actions": [{"assign": {"variable": "n", "expression": "data.n + 1"}}],
                            },
                            {"after": "0.3s", "targets": ["end"]},
                            {"event": "leave", "targets": ["away"]},
                        ],
                    },
                    {"id": "away"},
                    {"id": "end", "kind": "STATE_KIND_FINAL"},
                ],
            }
        )
        names = [client.start("after").instance.instance_id for client in (self.a, self.b) for _ in range(10)]
        left = self.a.start("after").instance.instance_id
        self.a.send(left, "leave")
        for name in names:
            done = self.b.wait(name)
            self.assertTrue(done.reached)
            self.assertEqual(json_format.MessageToDict(done.instance.data), {"n": 5.0})
            timers = [e.event for e in self.a.history(name) if e.kind == instance_pb2.HISTORY_KIND_TIMER]
            # The sixth ring of the first timer finds its guard false.
            self.assertEqual(timers, ["after.tick.0"] * 6 + ["after.tick.1"])
        time.sleep(0.2)
        self.assertEqual(len(self.a.history(left)), 2)

    def test_delayed_sends_arrive_and_can_be_cancelled(self):
        self.a.put(
            {
                "chartId": "send",
                "states": [
                    {
                        "id": "s",
                        "onEntry": [
                            {"send": {"event": "late", "delay": "0.2s", "data": {"x": "1 + 1"}}},
                            {"send": {"event": "never", "delay": "0.1s", "id": "it"}},
                            {"send": {"event": "now"}},
                        ],
                        "transitions": [
                            {"event": "now", "actions": [{"cancel": {"id": "it"}}]},
                            {
                                "event": "late",
                                "targets": ["end"],
                                "actions": [{"assign": {"variable": "x", "expression": "event.data.x"}}],
                            },
                            {"event": "never", "targets": ["wrong"]},
                        ],
                    },
                    {"id": "end", "kind": "STATE_KIND_FINAL"},
                    {"id": "wrong", "kind": "STATE_KIND_FINAL"},
                ],
            }
        )
        started = self.a.start("send", wait=20).instance
        self.assertEqual((list(started.configuration), started.status), (["end"], ENDED))
        self.assertEqual(json_format.MessageToDict(started.data), {"x": 2.0})
        self.assertIn("sent now", self.a.history(started.instance_id)[0].logs)

    # ---- tasks ----

    def task_chart(self, name, **options):
        self.a.put(
            {
                "chartId": name,
                "states": [
                    {
                        "id": "working",
                        "onEntry": [task("job", name, input={"n": "data.n", "me": "instance.id"}, **options)],
                        "transitions": [
                            {
                                "event": "done.task.job",
                                "targets": ["done"],
                                "actions": [{"assign": {"variable": "result", "expression": "event.data"}}],
                            },
                            {
                                "event": "error.task.job",
                                "targets": ["failed"],
                                "actions": [{"assign": {"variable": "error", "expression": "event.data"}}],
                            },
                            {"event": "stop", "targets": ["done"]},
                        ],
                    },
                    {"id": "done", "kind": "STATE_KIND_FINAL"},
                    {"id": "failed", "kind": "STATE_KIND_FINAL"},
                ],
            }
        )

    def test_a_stream_gets_tasks_of_both_servers(self):
        self.task_chart("stream")
        worker = Worker(self.a, "stream", credits=5, handle=lambda w, t: w.complete(t, {"n": t.input["n"]}))
        futures = []
        for i in range(60):
            client = (self.a, self.b)[i % 2]
            request = workflow_service_pb2.StartInstanceRequest(chart_id="stream", wait_timeout=duration(20))
            request.input.update({"n": i})
            futures.append(client.instances.StartInstance.future(request, metadata=client.metadata))
        for i, future in enumerate(futures):
            ended = future.result().instance
            self.assertEqual((ended.status, list(ended.configuration)), (ENDED, ["done"]))
            self.assertEqual(ended.data["result"]["n"], i)
        harness.wait_for(lambda: len(worker.acks) == 60, "60 acknowledgements")
        self.assertEqual({a.code for a in worker.acks}, {0})
        self.assertEqual(len({t.task_id for t in worker.tasks}), 60)
        worker.close()
        self.assertIsNone(worker.error)

    def test_polls_wait_and_get_tasks(self):
        self.task_chart("poll")
        self.assertFalse(self.a.poll("poll", seconds=0.1).task_id)
        polling = self.b.tasks.PollTask.future(
            task_service_pb2.PollTaskRequest(queues=["poll"], wait_timeout=duration(20)), metadata=self.b.metadata
        )
        time.sleep(0.2)
        name = self.a.start("poll", {"n": 7}, entity_id="ship-7").instance.instance_id
        one = polling.result().task
        self.assertEqual((one.name, one.queue, one.attempt, one.fencing_number), ("job", "poll", 1, 1))
        self.assertEqual((one.instance_id, one.entity_id, one.input["n"], one.input["me"]), (name, "ship-7", 7, name))
        self.a.complete(one.lease_token, {"ok": True})
        self.fails("TASK_NOT_FOUND", self.a.complete, one.lease_token)
        self.assertEqual(list(self.a.get(name).configuration), ["done"])

    def test_failures_are_retried_and_then_told(self):
        self.task_chart("retry", retry={"initialInterval": "0.05s", "maxAttempts": 3})
        name = self.a.start("retry", {"n": 1}).instance.instance_id
        for attempt in (1, 2, 3):
            one = self.b.poll("retry")
            self.assertEqual((one.attempt, one.instance_id), (attempt, name))
            self.assertEqual(self.a.fail(one.lease_token, "no luck").retried, attempt < 3)
            self.fails("TASK_NOT_FOUND" if attempt == 3 else "TASK_LEASE_LOST", self.a.fail, one.lease_token)
        ended = self.a.get(name)
        self.assertEqual(list(ended.configuration), ["failed"])
        self.assertEqual(
            json_format.MessageToDict(ended.data)["error"],
            {"message": "no luck", "reason": "ATTEMPTS_USED_UP", "attempt": 3.0},
        )
        name = self.a.start("retry", {"n": 2}).instance.instance_id
        self.assertFalse(self.a.fail(self.a.poll("retry").lease_token, permanent=True).retried)
        self.assertEqual(self.a.get(name).data["error"]["reason"], "FAILED")

    def test_a_lost_lease_does_not_count_and_heartbeats_keep_it(self):
        self.task_chart("lease", lease="1s")
        name = self.a.start("lease", {"n": 1}).instance.instance_id
        first = self.a.poll("lease")
        for _ in range(3):
            time.sleep(0.6)
            self.b.heartbeat(first.lease_token)
        self.assertFalse(self.a.poll("lease", seconds=0.1).task_id)
        second = self.b.poll("lease", seconds=10)
        self.assertEqual((second.task_id, second.attempt), (first.task_id, 2))
        self.assertGreater(second.fencing_number, first.fencing_number)
        self.fails("TASK_LEASE_LOST", self.a.complete, first.lease_token, {"by": "first"})
        self.fails("TASK_LEASE_LOST", self.a.heartbeat, first.lease_token)
        self.a.complete(second.lease_token, {"by": "second"})
        self.assertEqual(self.a.get(name).data["result"]["by"], "second")

    def test_a_stream_that_ends_gives_its_tasks_back(self):
        self.task_chart("gone", lease="3600s")
        worker = Worker(self.a, "gone")
        name = self.b.start("gone", {"n": 1}).instance.instance_id
        harness.wait_for(lambda: worker.tasks, "the task at the first worker")
        worker.cancel()
        other = Worker(self.b, "gone", handle=lambda w, t: w.complete(t))
        self.assertTrue(self.a.wait(name).reached)
        self.assertEqual(other.tasks[0].attempt, 2)
        other.close()

    def test_results_on_a_stream_answer_each(self):
        self.task_chart("acks", retry={"initialInterval": "0.05s"})
        self.a.start("acks", {"n": 1})
        worker = Worker(self.a, "acks", credits=1)
        harness.wait_for(lambda: worker.tasks, "a task")
        one = worker.tasks[0]
        worker.send(heartbeat=task_service_pb2.TaskHeartbeat(lease_token=one.lease_token))
        harness.wait_for(lambda: len(worker.acks) == 1, "the heartbeat's acknowledgement")
        self.assertGreater(worker.acks[0].lease_expire_time.seconds, 0)
        worker.send(failure=task_service_pb2.TaskFailure(lease_token=one.lease_token, message="x", add_credit=True))
        harness.wait_for(lambda: len(worker.tasks) == 2, "the second attempt")
        worker.complete(one)
        harness.wait_for(lambda: len(worker.acks) == 3, "the late result's acknowledgement")
        self.assertEqual((worker.acks[2].code, worker.acks[2].reason), (10, "TASK_LEASE_LOST"))
        worker.complete(worker.tasks[1])
        worker.send(result=task_service_pb2.TaskResult(lease_token="nonsense"))
        harness.wait_for(lambda: len(worker.acks) == 5, "all acknowledgements")
        self.assertEqual({a.lease_token: a.code for a in worker.acks[3:]}, {worker.tasks[1].lease_token: 0, "nonsense": 3})
        worker.close()
        self.assertIsNone(worker.error)

    def test_a_worker_that_reads_nothing_is_not_read_for_ever(self):
        sent = 0

        def results():
            nonlocal sent
            yield task_service_pb2.WorkTasksRequest(open=task_service_pb2.OpenWorker(queues=["deaf"]))
            bad = task_service_pb2.WorkTasksRequest(result=task_service_pb2.TaskResult(lease_token="x" * 2000))
            for sent in range(1, 300001):
                yield bad

        call = self.a.tasks.WorkTasks(results(), metadata=self.a.metadata)

        def is_still():
            before = sent
            time.sleep(1)
            return sent == before

        harness.wait_for(is_still, "the sender to be held up", 60)
        self.assertLess(sent, 300000)
        call.cancel()

    def test_credits_bound_what_a_worker_gets(self):
        self.task_chart("credits")
        worker = Worker(self.a, "credits", credits=2)
        for i in range(5):
            self.a.start("credits", {"n": i})
        harness.wait_for(lambda: len(worker.tasks) == 2, "two tasks")
        time.sleep(0.3)
        self.assertEqual(len(worker.tasks), 2)
        worker.send(credits=task_service_pb2.AddCredits(credits=2))
        harness.wait_for(lambda: len(worker.tasks) == 4, "four tasks")
        worker.complete(worker.tasks[0])
        harness.wait_for(lambda: len(worker.tasks) == 5, "five tasks")
        worker.close()

    def test_a_worker_opens_first(self):
        self.task_chart("opening")
        worker = Worker(self.a, "opening", credits=1)
        worker.send(open=task_service_pb2.OpenWorker())
        worker.thread.join(10)
        self.assertEqual(harness.reason(worker.error), "FIELD_REQUIRED")

    def test_a_task_that_takes_too_long_fails(self):
        self.task_chart("timeout", timeout="0.3s")
        worker = Worker(self.b, "timeout")
        ended = self.a.start("timeout", {"n": 1}, wait=20).instance
        self.assertEqual((list(ended.configuration), ended.data["error"]["reason"]), (["failed"], "TIMEOUT"))
        worker.complete(worker.tasks[0])
        harness.wait_for(lambda: worker.acks, "the late acknowledgement")
        self.assertEqual(worker.acks[0].reason, "TASK_NOT_FOUND")
        worker.close()

    def test_an_ended_instance_leaves_no_task(self):
        self.task_chart("orphan")
        name = self.a.start("orphan", {"n": 1}).instance.instance_id
        self.a.send(name, "stop")
        self.assertFalse(self.a.poll("orphan", seconds=0.3).task_id)

    def test_the_last_attempt_that_is_lost_fails_the_task(self):
        self.task_chart("lost", lease="1s", retry={"maxAttempts": 1})
        name = self.a.start("lost", {"n": 1}).instance.instance_id
        self.assertTrue(self.a.poll("lost").task_id)
        polling = self.b.tasks.PollTask.future(
            task_service_pb2.PollTaskRequest(queues=["lost"], wait_timeout=duration(20)), metadata=self.b.metadata
        )
        ended = self.a.wait(name).instance
        self.assertEqual(ended.data["error"]["reason"], "LEASE_LOST")
        polling.cancel()

    # ---- entities ----

    def fix(self, entity, second, inside):
        position = geo_pb2.Position(entity_id=entity, lon_deg=50.5 if inside else 55, lat_deg=-40.5)
        position.time.FromSeconds(1600000000 + second)
        return position

    def test_crossings_come_once_with_all_servers_and_senders_at_once(self):
        fence = geo_pb2.Fence(fence_id="wf-box")
        ring = [[50, -41], [51, -41], [51, -40], [50, -40], [50, -41]]
        json_format.ParseDict({"type": "Polygon", "coordinates": [ring]}, fence.geometry)
        self.a.fences.CreateFence(fence_service_pb2.CreateFenceRequest(fence=fence), metadata=self.a.metadata)
        count = [{"assign": {"variable": "n", "expression": "data.n + 1"}}]
        self.a.put(
            {
                "chartId": "crossing",
                "data": {"n": 0},
                "states": [
                    {
                        "id": "out",
                        "transitions": [
                            {"event": "fence.enter", "guard": "event.data.fence == 'wf-box'", "targets": ["in"]},
                            {"event": "count", "actions": count},
                        ],
                    },
                    {
                        "id": "in",
                        "onEntry": [task("visit", "crossing")],
                        "transitions": [
                            {"event": "fence.exit", "targets": ["out"]},
                            {"event": "count", "actions": count},
                        ],
                    },
                ],
            }
        )
        worker = Worker(self.b, "crossing", credits=50, handle=lambda w, t: w.complete(t))
        entities = [f"wf-ship-{i}" for i in range(12)]
        names = []
        for entity in entities:
            for which in ("x", "y"):
                names.append(self.a.start("crossing", entity_id=entity, instance_id=f"{entity}-{which}"))
        names = [started.instance.instance_id for started in names]
        pending = []
        for second in range(10):
            for half, client in ((entities[:6], self.a), (entities[6:], self.b)):
                request = track_service_pb2.ReportPositionsRequest(
                    positions=[self.fix(e, second, second % 2 == 1) for e in reversed(half)]
                )
                pending.append(client.tracks.ReportPositions.future(request, metadata=client.metadata))
            for i, name in enumerate(names):
                client = (self.a, self.b)[i % 2]
                request = workflow_service_pb2.SendEventRequest(instance_id=name, event="count")
                pending.append(client.instances.SendEvent.future(request, metadata=client.metadata))
            for call in pending:
                call.result()
            pending = []
        for name in names:
            harness.wait_for(
                lambda name=name: sum(e.event == "done.task.visit" for e in self.a.history(name)) == 5, "five visits"
            )
            entries = self.a.history(name)
            crossings = [e for e in entries if e.kind == instance_pb2.HISTORY_KIND_ENTITY]
            self.assertEqual([e.event for e in crossings], ["fence.enter", "fence.exit"] * 4 + ["fence.enter"])
            self.assertEqual([e.event_time.seconds for e in crossings], [1600000000 + s for s in range(1, 10)])
            self.assertTrue(all(e.handled for e in crossings))
            self.assertEqual([e.revision for e in entries], list(range(1, len(entries) + 1)))
            self.assertEqual(self.a.get(name).data["n"], 10)
        self.assertEqual(len({t.task_id for t in worker.tasks}), 24 * 5)
        worker.close()

    # ---- waiting and watching ----

    def test_waits_end_with_the_change_on_any_server(self):
        self.task_chart("waits")
        name = self.a.start("waits", {"n": 1}).instance.instance_id
        begin = time.monotonic()
        early = self.a.wait(name, seconds=0.2)
        self.assertFalse(early.reached)
        self.assertGreater(time.monotonic() - begin, 0.15)
        self.assertTrue(self.b.wait(name, after=0, seconds=0).instance.revision == 1)
        request = workflow_service_pb2.WaitInstanceRequest(instance_id=name, after_revision=1, wait_timeout=duration(20))
        calls = [c.instances.WaitInstance.future(request, metadata=c.metadata) for c in (self.a, self.b)]
        time.sleep(0.3)
        self.a.send(name, "nothing")
        for call in calls:
            self.assertEqual((call.result().reached, call.result().instance.revision), (True, 2))
        self.fails("INSTANCE_NOT_FOUND", self.a.wait, "nobody")

    def test_a_start_that_waits_may_be_repeated_and_given_up(self):
        self.task_chart("patience")
        request = workflow_service_pb2.StartInstanceRequest(
            chart_id="patience", instance_id="patience-1", request_id="r", wait_timeout=duration(20)
        )
        request.input.update({"n": 1})
        calls = [c.instances.StartInstance.future(request, metadata=c.metadata) for c in (self.a, self.b, self.a)]
        given_up = [
            c.instances.StartInstance.future(request, metadata=c.metadata, timeout=0.3) for c in (self.a, self.b)
        ]
        one = self.a.poll("patience")
        calls[2].cancel()
        for call in given_up:
            # The server answers before the deadline, with the instance as it is.
            self.assertEqual(call.result().instance.status, RUNNING)
        self.b.complete(one.lease_token, {"x": 1})
        replies = [call.result() for call in calls[:2]]
        self.assertEqual([r.instance.status for r in replies], [ENDED, ENDED])
        self.assertEqual(replies[0].instance, replies[1].instance)
        late = self.a.instances.StartInstance(request, metadata=self.a.metadata)
        self.assertEqual((late.created, late.instance.status), (False, ENDED))

    def test_pages_of_history_are_bounded_in_bytes(self):
        self.a.put({"chartId": "bulk", "states": [{"id": "s"}]})
        name = self.a.start("bulk").instance.instance_id
        for i in range(24):
            self.a.send(name, "e", {"text": "x" * 100_000, "i": i})
        request = workflow_service_pb2.ListHistoryRequest(instance_id=name, page_size=1000)
        first = self.a.instances.ListHistory(request, metadata=self.a.metadata)
        self.assertLess(len(first.entries), 15)
        self.assertEqual([e.revision for e in self.a.history(name, page_size=1000)], list(range(1, 26)))
        self.fails("FIELD_TOO_LONG", self.a.send, name, "e", {"text": "x" * 300_000})
        self.fails("PAGE_TOKEN_INVALID", self.a.instances.ListHistory,
                   workflow_service_pb2.ListHistoryRequest(instance_id=name, page_token="x"), metadata=self.a.metadata)

    def test_many_large_starts_at_once(self):
        # Together far more than one batch may hold.
        name, start = "bulky", self.a.instances.StartInstance
        tasks = [task("job%d" % i, name, input={"n": "data.n"}) for i in range(3)]
        self.a.put({"chartId": name, "states": [{"id": "working", "onEntry": tasks}]})
        request = workflow_service_pb2.StartInstanceRequest(chart_id=name)
        request.input.update({"n": "y" * 250_000})
        futures = [start.future(request, metadata=self.a.metadata, timeout=120) for _ in range(500)]
        self.assertEqual(len({f.result().instance.instance_id for f in futures}), 500)

    def test_big_tasks_reach_a_slow_worker(self):
        self.task_chart("big")
        worker = Worker(self.a, "big", credits=40)
        worker.handle = lambda w, t: (time.sleep(0.02), w.complete(t))
        futures = []
        for i in range(60):
            request = workflow_service_pb2.StartInstanceRequest(chart_id="big", wait_timeout=duration(30))
            request.input.update({"n": "y" * 200_000})
            futures.append(self.a.instances.StartInstance.future(request, metadata=self.a.metadata))
        for future in futures:
            self.assertEqual(future.result().instance.status, ENDED)
        self.assertEqual(len({t.task_id for t in worker.tasks}), 60)
        worker.close()

    def test_watches_see_the_end(self):
        self.task_chart("watches")
        name = self.a.start("watches", {"n": 1}).instance.instance_id
        seen = {}

        def watch(client, key):
            request = workflow_service_pb2.WatchInstanceRequest(instance_id=name)
            seen[key] = [m.instance for m in client.instances.WatchInstance(request, metadata=client.metadata)]

        threads = [threading.Thread(target=watch, args=(c, k)) for k, c in (("a", self.a), ("b", self.b))]
        for thread in threads:
            thread.start()
        time.sleep(0.3)
        self.a.send(name, "one")
        self.b.send(name, "two")
        self.a.send(name, "stop")
        for thread in threads:
            thread.join(20)
        for key in ("a", "b"):
            revisions = [i.revision for i in seen[key]]
            self.assertEqual(revisions, sorted(set(revisions)))
            self.assertEqual((revisions[0], revisions[-1], seen[key][-1].status), (1, 4, ENDED))


class CrashTest(unittest.TestCase):
    """The servers die by SIGKILL; what was acknowledged is there, and nothing is doubled."""

    def test_work_goes_on_after_kills(self):
        one = harness.Server().start()
        two = harness.Server(join=one).start()
        try:
            self.run_kills(one, two)
        finally:
            two.close()
            one.close()

    def test_timers_due_while_away_all_fire_though_they_fit_into_no_batch(self):
        server = harness.Server().start()
        try:
            client = Client(server, server.token("wendy", "admin"))
            wait = {"id": "wait", "transitions": [{"event": "go", "targets": ["due"]}]}
            due = {"id": "due", "transitions": [{"after": "8s", "targets": ["end"]}]}
            client.put({"chartId": "big", "states": [wait, due, {"id": "end", "kind": "STATE_KIND_FINAL"}]})
            # Short as text, some MB as a tree.
            big = {"flags": [True] * 50000}
            names = [client.start("big", big).instance.instance_id for _ in range(80)]
            for name in names:
                client.send(name, "go")
            server.kill()
            time.sleep(8)
            server.start()
            client = Client(server, server.token("wendy", "admin"))
            for name in names:
                self.assertTrue(client.wait(name, seconds=30).reached, name)
        finally:
            server.close()

    def run_kills(self, one, two):
        token = one.token("wendy", "admin")
        client = Client(one, token)
        chart = {
            "chartId": "crash",
            "data": {"rings": 0},
            "states": [
                {
                    "id": "work",
                    "onEntry": [
                        task("job", "crash", lease="1s", retry={"initialInterval": "0.05s", "maxAttempts": -1}),
                        {"send": {"event": "ring", "delay": "0.5s"}},
                    ],
                    "transitions": [
                        {"event": "ring", "actions": [{"assign": {"variable": "rings", "expression": "data.rings + 1"}}]},
                        {"event": "done.task.job", "targets": ["rest"]},
                    ],
                },
                {"id": "rest", "transitions": [{"after": "1.5s", "targets": ["end"]}]},
                {"id": "end", "kind": "STATE_KIND_FINAL"},
            ],
        }
        # A ring that comes when the work is done already counts too.
        chart["states"][1]["transitions"].append(chart["states"][0]["transitions"][0])
        client.put(chart)
        completed, stop = [], threading.Event()
        workers = [threading.Thread(target=self.work, args=(Client(s, token), completed, stop)) for s in (one, two)]
        for worker in workers:
            worker.start()
        started = set()
        for i in range(120):
            self.start_somewhere(one, two, token, f"crash-{i}", started)
            if i in (30, 60):
                two.kill()
                two.start()
            if i in (45, 90):
                # The first server starts PostgreSQL anew.
                os.kill(one.pid("postgres"), signal.SIGKILL)
        self.assertEqual(len(started), 120)
        check = Client(two, token)
        for name in sorted(started):
            ended = harness.wait_for(lambda: self.ended(check, name), f"the end of {name}", 60)
            self.assertEqual(ended.data["rings"], 1, name)
            events = [e.event for e in check.history(name)]
            self.assertEqual(sorted(events), sorted(["", "ring", "done.task.job", "after.rest.0"]), name)
        stop.set()
        for worker in workers:
            worker.join(30)
        # An acknowledged completion is the one that counted: at most one for each instance.
        self.assertEqual(len(completed), len(set(completed)))

    def ended(self, client, name):
        try:
            found = client.get(name)
        except grpc.RpcError:
            return None
        return found if found.status == ENDED else None

    def start_somewhere(self, one, two, token, name, started):
        end = time.monotonic() + 60
        while time.monotonic() < end:
            for server in (two, one):
                try:
                    Client(server, token).start("crash", instance_id=name, request_id="start-" + name)
                    started.add(name)
                    return
                except grpc.RpcError:
                    time.sleep(0.05)
        raise AssertionError(f"{name} could not be started")

    def work(self, client, completed, stop):
        while not stop.is_set():
            try:
                one = client.poll("crash", seconds=1)
                if one.task_id:
                    client.complete(one.lease_token)
                    completed.append(one.task_id)
            except grpc.RpcError:
                time.sleep(0.05)


if __name__ == "__main__":
    harness.main("__main__")
