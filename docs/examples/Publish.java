// Publish a file, or delete a document, with Kafka's own client.  Java runs this file as it is:
//
//   java -cp 'libs/*' Publish.java BROKERS TOPIC KEY guide.md text/markdown
//   java -cp 'libs/*' Publish.java BROKERS TOPIC KEY
//
// libs: org.apache.kafka:kafka-clients with what it needs.

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Properties;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.serialization.StringSerializer;

public class Publish {
    public static void main(String[] args) throws Exception {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", args[0]);
        settings.put("max.request.size", "9000000"); // a document may have 8 MiB, the client's default is 1 MiB
        // Acknowledged by all replicas, idempotent and partitioned by murmur2: Java's client does so by default.

        byte[] value = args.length > 3 ? Files.readAllBytes(Path.of(args[3])) : null; // null deletes
        ProducerRecord<String, byte[]> record = new ProducerRecord<>(args[1], args[2], value);
        if (value != null) {
            record.headers().add("content-type", (args.length > 4 ? args[4] : "text/plain").getBytes());
        }
        try (var producer = new KafkaProducer<>(settings, new StringSerializer(), new ByteArraySerializer())) {
            var place = producer.send(record).get(); // throws what went wrong
            System.out.println("partition " + place.partition() + " offset " + place.offset());
        }
    }
}
