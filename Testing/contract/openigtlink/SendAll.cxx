// Sends, with the library, what none of its example servers sends: images of every type and kind, positions, sensors,
// arrays.
//
// SendAll PORT

#include <cstdlib>
#include <cstring>
#include <vector>

#include "igtlClientSocket.h"
#include "igtlImageMessage.h"
#include "igtlNDArrayMessage.h"
#include "igtlPositionMessage.h"
#include "igtlSensorMessage.h"
#include "igtlUnit.h"

igtl::ClientSocket::Pointer peer;

void send(igtl::MessageBase* message, const char* device)
{
  message->SetDeviceName(device);
  message->Pack();
  peer->Send(message->GetPackPointer(), message->GetPackSize());
}

// The bytes of the pixels count up.
void sendImage(const char* device, int type, int components, int endian, int coordinates, bool part)
{
  igtl::ImageMessage::Pointer image = igtl::ImageMessage::New();
  image->SetDimensions(5, 4, 3);
  image->SetNumComponents(components);
  image->SetScalarType(type);
  image->SetEndian(endian);
  image->SetCoordinateSystem(coordinates);
  image->SetSpacing(0.5f, 1.25f, 3.0f);
  if (part)
  {
    image->SetSubVolume(2, 3, 1, 3, 1, 2);
  }
  else
  {
    image->SetSubVolume(5, 4, 3, 0, 0, 0);
  }
  igtl::Matrix4x4 matrix = {{0.6f, 0, 0.8f, 10}, {0.8f, 0, -0.6f, -20}, {0, 1, 0, 30.5f}, {0, 0, 0, 1}};
  image->SetMatrix(matrix);
  image->AllocateScalars();
  unsigned char* pixels = static_cast<unsigned char*>(image->GetScalarPointer());
  for (int index = 0; index < image->GetSubVolumeImageSize(); ++index)
  {
    pixels[index] = index % 64;
  }
  send(image, device);
}

template <typename Type> void sendArray(const char* device, int type)
{
  igtl::Array<Type> array;
  std::vector<igtlUint16> size(3);
  size[0] = 2, size[1] = 3, size[2] = 4;
  array.SetSize(size);
  std::vector<Type> values(24);
  for (int index = 0; index < 24; ++index)
  {
    values[index] = static_cast<Type>(3 * index);
  }
  array.SetArray(&values[0]);
  igtl::NDArrayMessage::Pointer message = igtl::NDArrayMessage::New();
  message->SetArray(type, &array);
  send(message, device);
}

int main(int, char* argv[])
{
  peer = igtl::ClientSocket::New();
  if (peer->ConnectToServer("127.0.0.1", atoi(argv[1])) != 0)
  {
    return 1;
  }
  const int types[] = {2, 3, 4, 5, 6, 7, 10, 11};
  for (int type : types)
  {
    for (int endian = 1; endian <= 2; ++endian)
    {
      sendImage(endian == 1 ? "Big" : "Little", type, 1, endian, igtl::ImageMessage::COORDINATE_RAS, false);
    }
  }
  sendImage("Colours", igtl::ImageMessage::TYPE_UINT8, 3, 2, igtl::ImageMessage::COORDINATE_LPS, false);
  sendImage("Vectors", igtl::ImageMessage::TYPE_INT16, 4, 1, igtl::ImageMessage::COORDINATE_LPS, false);
  sendImage("Part", igtl::ImageMessage::TYPE_UINT16, 1, 2, igtl::ImageMessage::COORDINATE_RAS, true);

  // Of its two shorter forms, the library 1.11 writes more than it has memory for.
  igtl::PositionMessage::Pointer position = igtl::PositionMessage::New();
  position->SetPosition(1.5f, -2, 3);
  position->SetQuaternion(0.5f, -0.5f, 0.5f, 0.5f);
  send(position, "Position");

  igtl::SensorMessage::Pointer sensor = igtl::SensorMessage::New();
  igtl::Unit::Pointer unit = igtl::Unit::New();
  unit->SetPrefix(igtl::Unit::SI_PREFIX_MILLI);
  unit->Append(igtl::Unit::SI_BASE_METER, 1);
  unit->Append(igtl::Unit::SI_BASE_SECOND, -2);
  sensor->SetLength(3);
  sensor->SetUnit(unit);
  for (int index = 0; index < 3; ++index)
  {
    sensor->SetValue(index, 0.25 - index);
  }
  send(sensor, "Sensor");

  sendArray<igtlInt8>("Array", igtl::NDArrayMessage::TYPE_INT8);
  sendArray<igtlUint8>("Array", igtl::NDArrayMessage::TYPE_UINT8);
  sendArray<igtlInt16>("Array", igtl::NDArrayMessage::TYPE_INT16);
  sendArray<igtlUint16>("Array", igtl::NDArrayMessage::TYPE_UINT16);
  sendArray<igtlInt32>("Array", igtl::NDArrayMessage::TYPE_INT32);
  sendArray<igtlUint32>("Array", igtl::NDArrayMessage::TYPE_UINT32);
  sendArray<igtlFloat32>("Array", igtl::NDArrayMessage::TYPE_FLOAT32);
  sendArray<igtlFloat64>("Array", igtl::NDArrayMessage::TYPE_FLOAT64);
  peer->CloseSocket();
}
