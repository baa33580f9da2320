// Makes latency.hgrm and latency.hlog with the original HdrHistogram (here 2.1.11, Debian's
// libhdrhistogram-java), for HistogramGoldenTests:
//
//     java -cp hdrhistogram.jar Golden.java DIRECTORY
//
// The values are those of `HistogramGoldenTests.latencies`.

import java.io.File;
import java.io.PrintStream;
import org.HdrHistogram.Histogram;
import org.HdrHistogram.HistogramLogWriter;

public class Golden {
    static Histogram latencies(long from, long to) {
        Histogram histogram = new Histogram(1, 3_600_000_000_000L, 3);
        for (long i = from; i < to; i++) {
            long spread = (i * i * 7919 + i * 104_729) % 1_000_003;
            histogram.recordValue(100_000 + spread);
            if (i % 100 == 0) histogram.recordValue(20_000_000 + 13 * spread);
            if (i % 5000 == 0) histogram.recordValue(3_000_000_000L + i);
        }
        return histogram;
    }

    public static void main(String[] arguments) throws Exception {
        File directory = new File(arguments[0]);
        try (PrintStream out = new PrintStream(new File(directory, "latency.hgrm"))) {
            latencies(0, 20_000).outputPercentileDistribution(out, 1e6);
        }
        HistogramLogWriter log = new HistogramLogWriter(new File(directory, "latency.hlog"));
        log.outputComment("[Logged with HdrHistogram]");
        log.outputLogFormatVersion();
        log.outputStartTime(1_700_000_000_000L);
        log.outputLegend();
        for (int second = 0; second < 4; second++) {
            Histogram histogram = latencies(second * 5000, second * 5000 + 5000);
            if (second == 3) histogram.reset();
            if (second % 2 == 1) histogram.setTag("mesh.base");
            log.outputIntervalHistogram(second, second + 1, histogram);
        }
        log.close();
    }
}
