package waymark.scenario;

import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.rpc.BadRequest;
import com.google.rpc.ErrorInfo;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.protobuf.StatusProto;
import io.grpc.stub.ClientCallStreamObserver;
import io.grpc.stub.ClientResponseObserver;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;

/** What the steps need around calls: checks, errors with details, and streams read one by one. */
final class Calls {
    static final long TIMEOUT_S = 20;

    static void check(boolean condition, Object seen) {
        if (!condition) {
            throw new AssertionError("not as it must be: " + seen);
        }
    }

    /** The status that a call ends with. */
    static StatusRuntimeException failure(Runnable call) {
        try {
            call.run();
        } catch (StatusRuntimeException error) {
            return error;
        }
        throw new AssertionError("the call did not fail");
    }

    /** Code, reason, domain and the fields that are wrong. */
    static String explained(Runnable call) throws InvalidProtocolBufferException {
        StatusRuntimeException error = failure(call);
        ErrorInfo info = ErrorInfo.getDefaultInstance();
        List<String> fields = new ArrayList<>();
        for (Any detail : StatusProto.fromThrowable(error).getDetailsList()) {
            if (detail.is(ErrorInfo.class)) {
                info = detail.unpack(ErrorInfo.class);
            } else if (detail.is(BadRequest.class)) {
                detail.unpack(BadRequest.class).getFieldViolationsList().forEach(v -> fields.add(v.getField()));
            }
        }
        return error.getStatus().getCode() + " " + info.getReason() + " " + info.getDomain() + " " + fields;
    }

    /** Receives a stream; next() hands out one message, or null at the end. */
    static final class Replies<Q, R> implements ClientResponseObserver<Q, R> {
        private static final Object END = new Object();
        private final BlockingQueue<Object> arrived = new LinkedBlockingQueue<>();
        private ClientCallStreamObserver<Q> call;

        @Override
        public void beforeStart(ClientCallStreamObserver<Q> started) {
            call = started;
        }

        @Override
        public void onNext(R reply) {
            arrived.add(reply);
        }

        @Override
        public void onError(Throwable error) {
            arrived.add(error);
        }

        @Override
        public void onCompleted() {
            arrived.add(END);
        }

        void cancel() {
            call.cancel("enough seen", null);
        }

        @SuppressWarnings("unchecked")
        R next() throws InterruptedException {
            Object next = arrived.poll(TIMEOUT_S, TimeUnit.SECONDS);
            check(next != null, "nothing within " + TIMEOUT_S + " s");
            if (next instanceof Throwable error) {
                throw Status.fromThrowable(error).asRuntimeException();
            }
            return next == END ? null : (R) next;
        }

        /** Reads until the call has ended with an error, and returns its code. */
        Status.Code error() throws InterruptedException {
            try {
                while (next() != null) {}
            } catch (StatusRuntimeException error) {
                return error.getStatus().getCode();
            }
            throw new AssertionError("the call ended by itself");
        }
    }

    private Calls() {}
}
