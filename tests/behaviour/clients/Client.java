import java.io.*;
import java.nio.charset.StandardCharsets;
import java.nio.file.*;
import java.security.*;
import java.security.cert.*;
import java.security.cert.Certificate;
import java.security.spec.PKCS8EncodedKeySpec;
import java.util.*;
import javax.net.ssl.*;

/** One GET over TLS with JSSE, twice on sessions of one context; prints how each went. */
public class Client {
    public static void main(String[] args) throws Exception {
        String address = args[0], name = args[1], version = args[3], alpn = args[4];
        int colon = address.lastIndexOf(':');
        CertificateFactory factory = CertificateFactory.getInstance("X.509");
        KeyStore trusted = KeyStore.getInstance(KeyStore.getDefaultType());
        trusted.load(null, null);
        try (InputStream in = Files.newInputStream(Path.of(args[2]))) {
            trusted.setCertificateEntry("ca", factory.generateCertificate(in));
        }
        TrustManagerFactory trust = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        trust.init(trusted);
        KeyManager[] keys = null;
        if (!args[5].equals("-")) {
            KeyStore own = KeyStore.getInstance(KeyStore.getDefaultType());
            own.load(null, null);
            Certificate certificate;
            try (InputStream in = Files.newInputStream(Path.of(args[5]))) {
                certificate = factory.generateCertificate(in);
            }
            String pem = Files.readString(Path.of(args[6])).replaceAll("-----[A-Z ]+-----|\\s", "");
            PrivateKey key = KeyFactory.getInstance("EC")
                    .generatePrivate(new PKCS8EncodedKeySpec(Base64.getDecoder().decode(pem)));
            own.setKeyEntry("own", key, new char[0], new Certificate[] {certificate});
            KeyManagerFactory manager = KeyManagerFactory.getInstance(KeyManagerFactory.getDefaultAlgorithm());
            manager.init(own, new char[0]);
            keys = manager.getKeyManagers();
        }
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(keys, trust.getTrustManagers(), null);
        long first = 0;
        for (int visit = 0; visit < 2; visit++) {
            java.net.Socket plain = new java.net.Socket(address.substring(0, colon),
                    Integer.parseInt(address.substring(colon + 1)));
            plain.setSoTimeout(15000);
            // The host given here is what sessions are kept under.
            SSLSocket socket = (SSLSocket) context.getSocketFactory().createSocket(plain, name, 443, true);
            SSLParameters parameters = socket.getSSLParameters();
            parameters.setProtocols(new String[] {"TLSv" + version});
            parameters.setApplicationProtocols(new String[] {alpn});
            parameters.setServerNames(List.of(new SNIHostName(name)));
            parameters.setEndpointIdentificationAlgorithm("HTTPS");
            socket.setSSLParameters(parameters);
            socket.startHandshake();
            SSLSession session = socket.getSession();
            String status = "h2";
            if (socket.getApplicationProtocol().equals("h2")) {
                // The server's settings.
                if (socket.getInputStream().readNBytes(9).length != 9) throw new IOException("no settings");
            } else {
                String request = "GET / HTTP/1.1\r\nHost: " + name + "\r\nConnection: close\r\n\r\n";
                socket.getOutputStream().write(request.getBytes(StandardCharsets.US_ASCII));
                String answer = new String(socket.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
                status = answer.split(" ")[1] + " " + answer.substring(answer.lastIndexOf('\n') + 1);
            }
            // A session that is resumed is as old as the one it comes from.
            boolean resumed = visit > 0 && session.getCreationTime() == first;
            first = session.getCreationTime();
            String protocol = socket.getApplicationProtocol().isEmpty() ? "-" : socket.getApplicationProtocol();
            System.out.println(session.getProtocol().substring(4) + " " + protocol
                    + (resumed ? " resumed " : " new ") + status);
            socket.close();
        }
    }
}
