"""worker run: what the command gets, and what becomes of what it says."""

import json
import queue
import signal
import threading
import time
import unittest

import support

from google.protobuf import json_format
from waymark.workflow.v1 import task_pb2, task_service_pb2, task_service_pb2_grpc


class Tasks(task_service_pb2_grpc.TaskServiceServicer):
    """Hands out the given tasks on the first stream and takes what comes back."""

    def __init__(self, *tasks):
        self.tasks = tasks
        self.answers = queue.Queue()
        self.opened = threading.Event()
        self.open = None

    def WorkTasks(self, requests, context):
        first = next(requests)
        self.open = first
        self.opened.set()
        out = queue.Queue()
        out.put(task_service_pb2.WorkTasksResponse(tasks=self.tasks))

        def read():
            try:
                for request in requests:
                    kind = request.WhichOneof("kind")
                    if kind not in ("result", "failure"):
                        continue
                    answer = getattr(request, kind)
                    self.answers.put((kind, answer))
                    ack = task_service_pb2.TaskAck(lease_token=answer.lease_token)
                    out.put(task_service_pb2.WorkTasksResponse(acks=[ack]))
            except Exception:  # the stream broke
                pass
            out.put(None)

        threading.Thread(target=read, daemon=True).start()
        yield from iter(out.get, None)


def task(n=1, **more):
    result = task_pb2.Task(
        task_id=f"t{n}", lease_token=f"lease-{n}", fencing_number=40 + n, name="inspect", queue="harbour",
        instance_id=f"i{n}", entity_id="vessel-7", attempt=2, **more
    )
    result.lease_expire_time.FromSeconds(int(time.time()) + 60)
    result.input.update({"port": "Richmond"})
    return result


class Worker(unittest.TestCase):
    def work(self, tasks, command, *more):
        servicer = Tasks(*tasks)
        server = support.Server((task_service_pb2_grpc.add_TaskServiceServicer_to_server, servicer))
        self.addCleanup(server.kill)
        worker = support.start("worker", "run", "--exec", command, "--address", server.address, *more)
        self.addCleanup(worker.kill)
        answers = [servicer.answers.get(timeout=20) for _ in tasks]
        return servicer, worker, answers

    def finish(self, worker):
        out, errors = worker.communicate(timeout=30)
        self.assertEqual(worker.returncode, 0, errors)
        return out

    def result(self, command, tasks=None):
        _, worker, answers = self.work(tasks or [task()], command, "--count", "1")
        self.finish(worker)
        return answers[0]

    def test_an_object_on_standard_output_is_the_result(self):
        kind, answer = self.result("""echo '{"ok": true, "n": [1, null]}'""")
        self.assertEqual(kind, "result")
        self.assertEqual(answer.lease_token, "lease-1")
        self.assertEqual(json_format.MessageToDict(answer.result), {"ok": True, "n": [1.0, None]})

    def test_other_output_is_wrapped(self):
        self.assertEqual(dict(self.result("echo all well")[1].result), {"output": "all well"})
        self.assertEqual(dict(self.result("true")[1].result), {})
        self.assertEqual(dict(self.result("echo 17")[1].result), {"output": "17"})

    def test_the_command_gets_the_task(self):
        seen = dict(self.result("cat")[1].result)
        self.assertEqual(seen["taskId"], "t1")
        self.assertEqual(dict(seen["input"]), {"port": "Richmond"})
        command = 'echo "$WAYMARK_TASK_ID $WAYMARK_TASK_NAME $WAYMARK_TASK_QUEUE $WAYMARK_TASK_ATTEMPT'
        command += ' $WAYMARK_TASK_FENCING $WAYMARK_INSTANCE_ID $WAYMARK_ENTITY_ID"'
        self.assertEqual(self.result(command)[1].result["output"], "t1 inspect harbour 2 41 i1 vessel-7")

    def test_failures(self):
        kind, answer = self.result("echo no berth >&2; exit 3")
        self.assertEqual((kind, answer.message, answer.permanent), ("failure", "exit code 3: no berth", False))
        kind, answer = self.result("exit 100")
        self.assertEqual((kind, answer.permanent), ("failure", True))
        kind, answer = self.result("kill -9 $$")
        self.assertEqual((kind, answer.message), ("failure", "exit code 137: no message"))

    def test_a_failure_in_any_bytes(self):
        for said, message in [
            (r"caf\351", "caf?"),
            (r"caf\303\251", "caf\u00e9"),
            (r"one\000two", "one?two"),
        ]:
            _, answer = self.result(f"printf '{said}' >&2; exit 1")
            self.assertEqual(answer.message, "exit code 1: " + message)

    def test_a_long_failure_keeps_its_end_in_whole_characters(self):
        for before in ("", "x", "xx"):
            # 9,000 bytes, of which some 1,024 are kept, in characters of three.
            command = f"printf %s '{before}' >&2; head -c 3000 /dev/zero | sed 's/\\x00/\u20ac/g' >&2; exit 1"
            _, answer = self.result(command)
            self.assertRegex(answer.message, "^exit code 1: \u20ac{300,700}$")

    def test_big_output_and_unread_input_do_not_lock_up(self):
        kind, answer = self.result("head -c 900000 /dev/zero | tr '\\0' x")
        self.assertEqual((kind, len(answer.result["output"])), ("result", 900000))
        big = task()
        big.input.update({"text": "x" * 500000})
        self.assertEqual(self.result("exec 0<&-; echo done", [big])[1].result["output"], "done")
        kind, _ = self.result("head -c 3000000 /dev/zero; exit 0")
        self.assertEqual(kind, "result")

    def test_several_at_once_and_a_clean_stop(self):
        servicer, worker, answers = self.work(
            [task(n) for n in range(4)], "sleep 0.4; echo ok", "--concurrency", "4", "--queue", "harbour",
            "--namespace", "port", "--json",
        )
        self.assertEqual(len(answers), 4)
        self.assertEqual((servicer.open.namespace, list(servicer.open.open.queues)), ("port", ["harbour"]))
        self.assertEqual(servicer.open.open.credits, 4)
        time.sleep(0.3)
        worker.send_signal(signal.SIGTERM)
        lines = [json.loads(line) for line in self.finish(worker).splitlines()]
        self.assertEqual({line["task"] for line in lines}, {"t0", "t1", "t2", "t3"})
        self.assertEqual({line["code"] for line in lines}, {"OK"})

    def test_stopping_ends_the_command(self):
        servicer = Tasks(task())
        server = support.Server((task_service_pb2_grpc.add_TaskServiceServicer_to_server, servicer))
        self.addCleanup(server.kill)
        worker = support.start("worker", "run", "--exec", "sleep 600", "--address", server.address)
        self.addCleanup(worker.kill)
        self.assertTrue(servicer.opened.wait(20))
        time.sleep(0.5)
        started = time.monotonic()
        worker.send_signal(signal.SIGINT)
        self.finish(worker)
        self.assertLess(time.monotonic() - started, 15)
        self.assertEqual(servicer.answers.get(timeout=5)[0], "failure")
