package waymark.scenario;

import com.google.gson.JsonParser;
import io.grpc.CallCredentials;
import io.grpc.InsecureChannelCredentials;
import io.grpc.Grpc;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import java.net.URI;
import java.net.URLEncoder;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.charset.StandardCharsets;
import java.util.Base64;
import java.util.concurrent.Executor;

/** The scenario of ../README.md by grpc-java. */
public final class Main {
    private static final String ISSUER = System.getenv("WAYMARK_ISSUER");
    private static final String NAME = System.getenv("WAYMARK_NAME");

    /** The token on each call. */
    static final class Bearer extends CallCredentials {
        private final String value;

        Bearer(String token) {
            value = "Bearer " + token;
        }

        @Override
        public void applyRequestMetadata(RequestInfo call, Executor executor, MetadataApplier applier) {
            Metadata metadata = new Metadata();
            metadata.put(Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER), value);
            applier.apply(metadata);
        }
    }

    private static String member(HttpClient http, HttpRequest request, String name) throws Exception {
        String body = http.send(request, BodyHandlers.ofString()).body();
        return JsonParser.parseString(body).getAsJsonObject().get(name).getAsString();
    }

    /** An access token, as any OAuth client gets it. */
    static Bearer logIn() throws Exception {
        HttpClient http = HttpClient.newHttpClient();
        URI discovery = URI.create(ISSUER + "/.well-known/openid-configuration");
        String endpoint = member(http, HttpRequest.newBuilder(discovery).build(), "token_endpoint");
        String client = URLEncoder.encode(NAME, StandardCharsets.UTF_8) + ":secret";
        String basic = Base64.getEncoder().encodeToString(client.getBytes(StandardCharsets.UTF_8));
        String form = "grant_type=client_credentials&scope=operator+worker";
        HttpRequest request =
                HttpRequest.newBuilder(URI.create(endpoint))
                        .header("Authorization", "Basic " + basic)
                        .header("Content-Type", "application/x-www-form-urlencoded")
                        .POST(HttpRequest.BodyPublishers.ofString(form))
                        .build();
        return new Bearer(member(http, request, "access_token"));
    }

    public static void main(String[] arguments) throws Exception {
        ManagedChannel channel =
                Grpc.newChannelBuilder(System.getenv("WAYMARK_ADDRESS"), InsecureChannelCredentials.create())
                        .build();
        double west = Double.parseDouble(System.getenv("WAYMARK_WEST"));
        new Scenario(channel, ISSUER, NAME, west).run();
        channel.shutdownNow();
    }

    private Main() {}
}
