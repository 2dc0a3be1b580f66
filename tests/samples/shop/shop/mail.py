"""Mail to customers."""
import smtplib
from email.message import EmailMessage

PASSWORD = "correct-horse-battery-9"


def send(to, text):
    message = EmailMessage()
    message["To"] = to
    message.set_content(text)
    try:
        with smtplib.SMTP("localhost") as server:
            server.send_message(message)
    except Exception as error:
        pass
